import { readSize } from "../bytes/index.ts";
import { PlatterError } from "../errors.ts";

/** The value of an option for one opening. */
type Value = string | number | boolean | null;

/** A mistake in an option for one opening. */
export function runtimeError(
  file: string,
  field: string,
  value: Value,
  qemu: string,
  code: "E_INVALID_ARGUMENT" | "E_UNSUPPORTED" = "E_INVALID_ARGUMENT",
): PlatterError {
  const shown = String(value);
  return new PlatterError(code, `${file}: ${field}=${shown}: ${qemu}`, {
    file,
    field,
    value: shown,
    qemu,
  });
}

/** A size in bytes below 2^53. @throws `E_INVALID_ARGUMENT` */
export function runtimeSize(file: string, name: string, value: Value): number {
  const reading = readSize(typeof value === "boolean" || value === null ? "" : String(value));
  if (reading.kind === "size" && reading.value <= BigInt(Number.MAX_SAFE_INTEGER)) {
    return Number(reading.value);
  }
  const qemu =
    `Parameter '${name}' expects a non-negative number below 2^64\n` +
    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n" +
    "and exabytes, respectively.";
  throw runtimeError(file, name, value, qemu);
}

/** On or off. @throws `E_INVALID_ARGUMENT` */
export function runtimeBoolean(file: string, name: string, value: Value): boolean {
  if (value === true || ["on", "yes", "true", "y"].includes(String(value))) return true;
  if (value === false || ["off", "no", "false", "n"].includes(String(value))) return false;
  throw runtimeError(file, name, value, `Parameter '${name}' expects 'on' or 'off'`);
}
