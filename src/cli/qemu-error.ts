import { PlatterError, type ErrorCode } from "../errors.ts";

/** The numbers that Linux gives to errors, by their texts. */
const numbers: Readonly<Record<string, number>> = {
  "No such file or directory": 2,
  "Input/output error": 5,
  "Permission denied": 13,
  "Invalid argument": 22,
  "File too large": 27,
  "No space left on device": 28,
  "Read-only file system": 30,
  "Operation not supported": 95,
};

/**
 * The error with what qemu-img says of it put together by `words` from the text it has so far and the
 * negative number that stands for it. Errors of opening have their words already.
 */
export function qemuError(
  error: unknown,
  words: (text: string, number: number, code: ErrorCode) => string,
): unknown {
  if (!(error instanceof PlatterError) || error.code === "E_ABORTED") return error;
  const said = error.details.qemu ?? "Input/output error";
  if (said.startsWith("Could not open ")) return error;
  const number = -(numbers[said] ?? 5);
  const qemu = words(said, number, error.code);
  return new PlatterError(error.code, error.message, { ...error.details, qemu });
}
