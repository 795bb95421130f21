import { PlatterError } from "../errors.ts";

/** Throws `E_CLOSED` if `closed`. */
export function refuseClosed(storage: { readonly name: string }, closed: boolean): void {
  if (closed) {
    throw new PlatterError("E_CLOSED", `${storage.name} has been closed.`, { file: storage.name });
  }
}

/**
 * Throws unless `offset` and `length` are whole numbers from 0 up (`E_INVALID_ARGUMENT`) and their
 * sum is at most 2^53 − 1 (`E_FILE_TOO_LARGE`).
 */
export function checkRange(
  storage: { readonly name: string },
  offset: number,
  length: number,
): void {
  for (const [field, value] of Object.entries({ offset, length })) {
    if (value < 0 || !Number.isInteger(value)) {
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `${storage.name}: the ${field} ${value} is not a whole number of bytes.`,
        { file: storage.name, field, value },
      );
    }
  }
  if (length > Number.MAX_SAFE_INTEGER - offset) {
    throw new PlatterError(
      "E_FILE_TOO_LARGE",
      `${storage.name}: ${length} bytes at offset ${offset} reach beyond 2^53 - 1.`,
      { file: storage.name, offset, value: length },
    );
  }
}
