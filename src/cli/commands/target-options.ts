import type { FormatOptionValues, FormatServices } from "../contract.ts";
import { argumentError } from "../usage.ts";

/** What is known about an image to be made, besides its name. */
export interface TargetOptions {
  /** Creation options without those that have a field of their own here. */
  readonly values: FormatOptionValues;
  /** `-o size`, in bytes. */
  readonly size: number | undefined;
  readonly backing: { readonly name: string; readonly format?: string } | undefined;
}

/**
 * Puts the values of `-o` and the backing file options together. The options of their own win, as
 * in qemu-img. `creation` is what qemu-img puts in front of errors that only making the image shows.
 *
 * @throws `E_INVALID_ARGUMENT` for what the format does not know
 */
export function targetOptions(
  formats: FormatServices,
  format: string,
  pairs: ReadonlyArray<readonly [name: string, value: string]>,
  given: { readonly name: string | undefined; readonly format: string | undefined },
  creation = "",
): TargetOptions {
  const {
    size,
    backing_file: optionName,
    backing_fmt: optionFormat,
    ...values
  } = formats.parse(format, pairs);
  const known = new Set(formats.describe(format, false).map((option) => option.name));
  if (given.name !== undefined && !known.has("backing_file")) {
    throw argumentError(
      "backing file",
      given.name,
      `Images of the format ${format} cannot have a backing file.`,
      `Backing file not supported for file format '${format}'`,
    );
  }
  if (given.format !== undefined && !known.has("backing_fmt")) {
    throw argumentError(
      "backing format",
      given.format,
      `Images of the format ${format} cannot have a backing file, and so no format for it.`,
      `Backing file format not supported for file format '${format}'`,
    );
  }
  const name = given.name ?? text(optionName);
  const backingFormat = given.format ?? text(optionFormat);
  if (name === undefined && backingFormat !== undefined) {
    throw argumentError(
      "backing format",
      backingFormat,
      "A backing format is given, but no backing file: add -b, or leave -F out.",
      `${creation}Backing format cannot be used without backing file`,
    );
  }
  return {
    values,
    size: typeof size === "number" ? size : undefined,
    backing:
      name === undefined
        ? undefined
        : { name, ...(backingFormat === undefined ? {} : { format: backingFormat }) },
  };
}

function text(value: string | number | boolean | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}
