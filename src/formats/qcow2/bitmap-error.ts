import { PlatterError, type ErrorCode } from "../../errors.ts";

/** An error about a bitmap: `text` is what QEMU says of it, `advice` what the user can do. */
export function bitmapError(
  file: string,
  code: ErrorCode,
  text: string,
  details: {
    readonly field?: string;
    readonly value?: number | string;
    readonly advice?: string;
  } = {},
): PlatterError {
  const { advice, ...rest } = details;
  // QEMU's second line is advice for its own commands. A name may have lines, too.
  const what = text.replace(/\n(?:Try|Some) [^\n]*$/, "");
  const message = `${file}: ${what}${advice === undefined ? "" : `; ${advice}`}`;
  return new PlatterError(code, message, { file, ...rest, qemu: text });
}

/** The error for a bitmap that nobody may use any more. */
export const inconsistent = (file: string, name: string): PlatterError =>
  bitmapError(
    file,
    "E_BITMAP_INCONSISTENT",
    `Bitmap '${name}' is inconsistent and cannot be used\n` +
      `Try block-dirty-bitmap-remove to delete this bitmap from disk`,
    { value: name, advice: "remove it, and make a full backup before relying on a new one" },
  );
