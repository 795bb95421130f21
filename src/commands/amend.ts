import { PlatterError } from "../errors.ts";
import type { FormatOptionValues } from "../formats/index.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";

/** What is to be different about an image. */
export interface AmendCommandOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** The format's amend options, or what makes them from the format when that is known. */
  readonly values: FormatOptionValues | ((format: string) => FormatOptionValues);
  /** `size` may make the disk smaller, which deletes what is behind its new end; default false. */
  readonly shrink?: boolean | undefined;
  /** Allow what may make the image unusable, such as erasing its last key; default false. */
  readonly force?: boolean | undefined;
  /** Write past the host's page cache. */
  readonly direct?: boolean | undefined;
  /** Guest data and metadata reach stable storage in order; default true. */
  readonly barriers?: boolean | undefined;
}

/** What was changed. */
export interface AmendResult {
  readonly filename: string;
  readonly format: string;
  readonly values: FormatOptionValues;
}

/** See the function of the same name in lazy.ts. */
export async function amend(
  options: AmendCommandOptions,
  context: CommandContext,
): Promise<AmendResult> {
  const { name, format, imageOpts, direct, barriers, shrink = false } = options;
  const disk = await openImage(
    {
      name,
      format,
      imageOpts,
      direct,
      writable: true,
      ...(barriers !== undefined && { barriers }),
    },
    context,
  );
  const { image } = disk;
  let values: FormatOptionValues;
  try {
    if (image.amend === undefined) throw nothingToAmend(disk.name, image.format);
    values = typeof options.values === "function" ? options.values(image.format) : options.values;
    const size = values["size"];
    if (typeof size === "number" && size !== 0 && size < disk.size && !shrink) {
      throw new PlatterError(
        "E_INVALID_SIZE",
        `${disk.name}: a smaller size deletes what is behind the new end; use "resize --shrink"`,
        { file: disk.name, field: "size", value: size },
      );
    }
    context.onProgress?.({ done: 0, total: 1 });
    await image.amend({
      values,
      force: options.force ?? false,
      resize: (wanted) => disk.resize(wanted),
      onProgress: context.onProgress,
    });
  } catch (error) {
    // The first error is the one to tell.
    await disk.close().catch(() => undefined);
    throw error;
  }
  await disk.close();
  return { filename: disk.name, format: image.format, values };
}

function nothingToAmend(file: string, format: string): PlatterError {
  return new PlatterError(
    "E_UNSUPPORTED",
    `${file}: nothing about ${format} images can be changed`,
    { file, qemu: `Format driver '${format}' does not support option amendment` },
  );
}
