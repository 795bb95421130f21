import type { Parsed } from "../parse.ts";
import { usageError } from "../usage.ts";

/** The one operand of commands that take an image. */
export function singleOperand(parsed: Parsed): string {
  const [name, ...others] = parsed.operands;
  if (name === undefined || others.length > 0) {
    throw usageError(
      name === undefined
        ? "Name the image."
        : `One image is expected, ${parsed.operands.length} are named.`,
      "Expecting one image file name",
    );
  }
  return name;
}

/** `-f`, where it was given. */
export function formatArgument(parsed: Parsed): { format?: string } {
  const format = parsed.value("format");
  return format === undefined ? {} : { format };
}
