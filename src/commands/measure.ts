import type { Disk, SnapshotReference } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import {
  formatNamed,
  type FormatOptionValues,
  type Measurement,
  type StoredRange,
} from "../formats/index.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";

/** An image whose copy is to be measured. */
export interface MeasureSource {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** Others may be writing to it (`-U`). */
  readonly shared?: boolean | undefined;
  /** An internal snapshot of it. */
  readonly snapshot?: SnapshotReference | undefined;
}

/** What is to be measured: a new image of some size, or a copy of an image. */
export interface MeasureCommandOptions {
  /** Size of the disk in bytes, when there is no source. */
  readonly size?: number | undefined;
  readonly source?: MeasureSource | undefined;
  /** Format of the new image. */
  readonly targetFormat: string;
  /**
   * Its creation options, or what makes them: called when the source is open, as `qemu-img` looks at
   * them then.
   */
  readonly targetOptions?: FormatOptionValues | (() => FormatOptionValues) | undefined;
}

/** Tells how large a new image file would become. */
export async function measure(
  options: MeasureCommandOptions,
  context: CommandContext,
): Promise<Measurement> {
  const { source, size } = options;
  if (source === undefined && size === undefined) {
    throw new PlatterError("E_INVALID_ARGUMENT", "Say what to measure: a size or an image.", {
      field: "size",
      qemu: "Either --size N or one filename must be specified.",
    });
  }
  if (source === undefined) return measureDisk(options, size ?? 0);
  await using disk = await openImage(source, context);
  return await measureDisk(options, disk.size, disk, context);
}

function measureDisk(
  { targetFormat, targetOptions = {} }: MeasureCommandOptions,
  size: number,
  disk?: Disk,
  context?: CommandContext,
): Promise<Measurement> {
  const format = formatNamed(targetFormat, "create");
  const values = typeof targetOptions === "function" ? targetOptions() : targetOptions;
  if (format.measure === undefined) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `The size of ${targetFormat} images cannot be told in advance.`,
      {
        field: "format",
        value: targetFormat,
        qemu: `Block driver '${targetFormat}' does not support size measurement`,
      },
    );
  }
  return format.measure({
    size,
    values,
    hasBacking: values["backing_file"] !== undefined,
    ...(disk !== undefined && {
      data: dataOf(disk, context?.signal),
      bitmapBytes: disk.image.bitmapBytes,
    }),
  });
}

async function* dataOf(disk: Disk, signal: AbortSignal | undefined): AsyncGenerator<StoredRange> {
  for await (const { start, length, data, zero } of disk.extents({ signal })) {
    if (data && !zero) yield { start, end: start + length };
  }
}
