import { PlatterError } from "../errors.ts";

/** The line that qemu-img puts under a message about the command line. */
const TRY_HELP = "\nTry 'qemu-img --help' for more information";

/** A mistake on the command line that qemu-img answers with a pointer to its help. */
export function usageError(message: string, qemu: string): PlatterError {
  return new PlatterError("E_INVALID_ARGUMENT", message, { qemu: qemu + TRY_HELP });
}

/** A mistake on the command line that qemu-img answers with one line. */
export function argumentError(
  field: string,
  value: string | undefined,
  message: string,
  qemu: string,
): PlatterError {
  return new PlatterError("E_INVALID_ARGUMENT", message, { field, value, qemu });
}

/** An option that is understood but belongs to another version. */
export function notSupported(option: string): PlatterError {
  return new PlatterError("E_UNSUPPORTED", `${option} is not supported by this version.`, {
    field: option,
    qemu: `${option} is not supported by this version`,
  });
}
