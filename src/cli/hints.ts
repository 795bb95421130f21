import type { ErrorCode } from "../errors.ts";

/** What to do about an error, for those where that is not plain from the message. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  E_CHAIN_LOOP:
    "Look at the chain with `platter info`, and give one of the images another backing file.",
  E_CORRUPT: "`platter check` tells how much of the image is damaged.",
  E_CORRUPT_BIT:
    "Copy what can be read with `platter convert`, and look at the damage with `platter check`.",
  E_DIRTY: "Open it once with the program that wrote it, or copy it with `platter convert`.",
  E_EXISTS: "Choose another name, or remove the file first.",
  E_FILE_TOO_LARGE: "Choose a filesystem that takes larger files, or a larger cluster size.",
  E_LOCKED: "End the program that uses the image; to read it all the same, add -U.",
  E_NO_SPACE: "Free some space, or write to another filesystem. Nothing was left behind.",
  E_PERMISSION: "Check who may read and write the file and its directory.",
  E_SAME_FILE: "Give the target another name.",
  E_TRUNCATED: "The file was probably copied or downloaded only in part: get it again.",
  E_UNFINISHED: "Make the image again: what it holds is not complete.",
  E_UNKNOWN_FORMAT: "`platter --help` lists the formats.",
};

/** A sentence on what to do about errors of that code. */
export function hintFor(code: ErrorCode): string | undefined {
  return HINTS[code];
}
