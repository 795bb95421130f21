/**
 * Every code a {@link PlatterError} can carry, with its meaning. The codes are stable: programs may
 * match on them. `docs/errors.md` is generated from this table.
 */
export const errorCodes = {
  E_ABORTED: "The operation was cancelled through its AbortSignal.",
  E_BITMAP_INCONSISTENT:
    "A bitmap was not stored when the image was last written and can only be removed.",
  E_BITMAP_NOT_FOUND: "The image has no bitmap of that name.",
  E_CHAIN_DEPTH: "The backing chain is deeper than the limit.",
  E_CHAIN_LOOP: "An image is, directly or through others, its own backing file.",
  E_CLOSED: "The disk or storage has been closed.",
  E_CODEC: "Compressed data cannot be decoded, or the codec it needs is not available.",
  E_CORRUPT: "A structure in the image breaks a rule of its format.",
  E_CORRUPT_BIT: "The image is marked corrupt and may only be read.",
  E_DIRTY: "The image was not closed cleanly and has to be repaired before it is written.",
  E_EXISTS: "The file, or the part of an image, exists already.",
  E_EXTERNAL: "Another program that was called failed.",
  E_FILE_TOO_LARGE: "The file would become larger than its filesystem or the system allows.",
  E_INVALID_ARGUMENT: "An argument or option has a value that is not allowed.",
  E_INVALID_SIZE: "A size cannot be understood or is outside the allowed range.",
  E_IO: "The operating system or a device reported a read or write error.",
  E_IS_DIRECTORY: "A directory was named where an image file is needed.",
  E_LIMIT: "A number in the image or in a request is larger than can be handled.",
  E_LOCKED: "Another program has the image open.",
  E_NO_SPACE: "There is no space left for the write.",
  E_NOT_FOUND: "The file does not exist.",
  E_OUT_OF_RANGE: "A request reaches past the end of the disk.",
  E_PERMISSION: "The operating system does not allow the access.",
  E_READ_ONLY: "The disk, storage or format cannot be written.",
  E_REFERENCE_DENIED:
    "The image names another file, and the open policy does not allow to open it.",
  E_SAME_FILE: "Source and target are the same file.",
  E_SNAPSHOT_NOT_FOUND: "The image has no internal snapshot of that id or name.",
  E_TIMEOUT: "A disk or server has not answered within the time that was given.",
  E_TRUNCATED: "The image file is shorter than its own tables say.",
  E_SECRET: "A secret that an encrypted image needs is missing, or cannot be had.",
  E_UNFINISHED: "The image was still being written when its writer ended.",
  E_UNKNOWN_FORMAT: "The format is not known.",
  E_UNSUPPORTED: "The request is understood but this format, host or version cannot do it.",
  E_UNSUPPORTED_FEATURE: "The image uses a format feature that is not supported.",
  E_WRONG_KEY: "The secret does not fit the encrypted image.",
} as const satisfies Record<string, string>;

/** One of the stable codes of {@link errorCodes}. */
export type ErrorCode = keyof typeof errorCodes;

/** What a {@link PlatterError} knows besides its message. */
export interface ErrorDetails {
  /** The file (or other storage) that the error is about. */
  readonly file?: string | undefined;
  /** The header field, table or option that the error is about. */
  readonly field?: string | undefined;
  /** Byte offset in `file`. */
  readonly offset?: number | undefined;
  /** The offending value as found. */
  readonly value?: number | bigint | string | undefined;
  /**
   * The words that `qemu-img` 7.2 uses for this situation, where they differ from ours. Printed by
   * the `qemu-img` face in place of the message, after its `qemu-img: ` prefix.
   */
  readonly qemu?: string | undefined;
  /** A file that was there before and may hold a part of what was to be written to it. */
  readonly incomplete?: string | undefined;
  /** What caused this error. */
  readonly cause?: unknown;
}

/** Characters that a terminal takes for a command, or that end a line or turn text around. */
const controls = /[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;
const short: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * `text` with control characters written as `\n`, `\x1b` or `\u202e`: names that come from an image must
 * not be able to rewrite what a terminal shows, nor pretend to be lines of their own.
 */
export function escapeControls(text: string): string {
  return text.replaceAll(controls, (character) => {
    const hex = character.charCodeAt(0).toString(16);
    return short[character] ?? (hex.length > 2 ? `\\u${hex}` : `\\x${hex.padStart(2, "0")}`);
  });
}

/**
 * The only error type that Platter throws on purpose. `message` is one line: the file, the field or
 * offset, the value found, and what to do; control characters in it are escaped. `details` has names as
 * they are.
 */
export class PlatterError extends Error {
  override readonly name = "PlatterError";
  /** Stable code, see {@link errorCodes}. */
  readonly code: ErrorCode;
  /** File, field, offset and value, as far as they are known. */
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(
      escapeControls(message),
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.details = details;
  }
}

/** Throws `E_ABORTED` if `signal` has been aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new PlatterError("E_ABORTED", "The operation was cancelled.", { cause: signal.reason });
  }
}

/**
 * Runs `task`; an error that it throws gets what QEMU says in front of its words for it. Being cancelled is
 * nothing that QEMU has words for.
 */
export async function inQemuWords<T>(prefix: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (!(error instanceof PlatterError) || error.code === "E_ABORTED") throw error;
    const qemu = prefix + (error.details.qemu ?? error.message);
    throw new PlatterError(error.code, error.message, { ...error.details, qemu });
  }
}

/** The error, which also says that `file`, which was there before, may have been written in part. */
export function inPart(error: unknown, file: string): unknown {
  if (!(error instanceof PlatterError)) return error;
  return new PlatterError(error.code, error.message, { ...error.details, incomplete: file });
}
