import { PlatterError } from "../errors.ts";
import type { ErrorCode } from "../errors.ts";
import { errnoName, strerror } from "./errno.ts";

/** What was being done to a file when the system refused. */
export type Action =
  | "open"
  | "create"
  | "read"
  | "write"
  | "flush"
  | "truncate"
  | "allocate"
  | "zero"
  | "inspect"
  | "lock"
  | "publish"
  | "discard"
  | "close";

const codes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "E_NOT_FOUND",
  ENOTDIR: "E_NOT_FOUND",
  ENXIO: "E_NOT_FOUND",
  ENODEV: "E_NOT_FOUND",
  ELOOP: "E_INVALID_ARGUMENT",
  ENAMETOOLONG: "E_INVALID_ARGUMENT",
  ERR_INVALID_ARG_VALUE: "E_INVALID_ARGUMENT",
  EACCES: "E_PERMISSION",
  EPERM: "E_PERMISSION",
  EISDIR: "E_IS_DIRECTORY",
  EEXIST: "E_EXISTS",
  ENOSPC: "E_NO_SPACE",
  EDQUOT: "E_NO_SPACE",
  EFBIG: "E_FILE_TOO_LARGE",
  EOVERFLOW: "E_FILE_TOO_LARGE",
  EROFS: "E_READ_ONLY",
  ETXTBSY: "E_LOCKED",
  EBUSY: "E_LOCKED",
  EAGAIN: "E_LOCKED",
  EOPNOTSUPP: "E_UNSUPPORTED",
  ENOTSUP: "E_UNSUPPORTED",
  ENOSYS: "E_UNSUPPORTED",
  ENOLCK: "E_UNSUPPORTED",
  ENOTTY: "E_UNSUPPORTED",
  EBADF: "E_CLOSED",
};

/** What the user can do about it, a sentence for each code that has one. */
const advice: Partial<Record<ErrorCode, string>> = {
  E_NOT_FOUND: "Check the name.",
  E_PERMISSION: "Check the permissions of the file and its directory.",
  E_IS_DIRECTORY: "Name a file.",
  E_NO_SPACE: "Free some space, or choose another filesystem.",
  E_FILE_TOO_LARGE: "Choose a smaller size, or a filesystem that holds larger files.",
  E_READ_ONLY: "Open it for reading, or choose another place.",
  E_LOCKED: "Close the program that uses it.",
};

const attempts: Readonly<Record<Action, string>> = {
  open: "cannot be opened",
  create: "cannot be created",
  read: "reading failed",
  write: "writing failed",
  flush: "flushing to stable storage failed",
  truncate: "changing the length failed",
  allocate: "reserving space failed",
  zero: "writing zeros failed",
  inspect: "cannot be examined",
  lock: "cannot be locked",
  publish: "cannot be put in its place",
  discard: "cannot be removed",
  close: "closing failed",
};

/** The sentence QEMU makes of a failed action; elsewhere the bare text, which commands build on. */
function qemuWords(action: Action, file: string, text: string): string {
  switch (action) {
    case "open":
      return `Could not open '${file}': ${text}`;
    case "create":
      return `Could not create '${file}': ${text}`;
    case "truncate":
      return `Could not resize file: ${text}`;
    case "allocate":
      return `Could not preallocate new data: ${text}`;
    default:
      return text;
  }
}

/** The symbolic name ("ENOENT") that an error of Node carries, if it is one of the system's. */
export function systemCode(cause: unknown): string | undefined {
  if (!(cause instanceof Error) || !("code" in cause)) return undefined;
  return typeof cause.code === "string" ? cause.code : undefined;
}

/**
 * The {@link PlatterError} for a refusal of the system.
 *
 * @param name symbolic error name, "ENOSPC"; it becomes `details.value`, so that a command can say
 *   it in QEMU's words with {@link strerror}
 * @param offset byte offset in the file, where there was one
 */
export function systemError(
  name: string,
  action: Action,
  file: string,
  offset?: number,
  cause?: unknown,
): PlatterError {
  const code = codes[name] ?? "E_IO";
  const text = strerror(name);
  const at = offset === undefined ? "" : ` at offset ${offset}`;
  const hint = advice[code];
  const message = `${file}: ${attempts[action]}${at}: ${text}.${hint === undefined ? "" : ` ${hint}`}`;
  return new PlatterError(code, message, {
    file,
    offset,
    value: name,
    qemu: qemuWords(action, file, text),
    cause,
  });
}

/** The {@link PlatterError} for an error that `node:fs` threw; one that is one already is kept. */
export function hostError(
  cause: unknown,
  action: Action,
  file: string,
  offset?: number,
): PlatterError {
  if (cause instanceof PlatterError) return cause;
  const name = systemCode(cause);
  if (name !== undefined && name.startsWith("ERR_")) {
    const reason = cause instanceof Error ? cause.message : name;
    return new PlatterError(
      name === "ERR_OUT_OF_RANGE" ? "E_LIMIT" : "E_INVALID_ARGUMENT",
      `${file}: ${attempts[action]}: ${reason}`,
      { file, offset, cause },
    );
  }
  return systemError(name ?? "EIO", action, file, offset, cause);
}

/** As {@link systemError}, for the negative error number that a {@link Libc} call returned. */
export const errnoError = (
  result: number,
  action: Action,
  file: string,
  offset?: number,
): PlatterError => systemError(errnoName(-result), action, file, offset);
