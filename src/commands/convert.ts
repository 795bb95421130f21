import type { BackingReference, SnapshotReference } from "../disk/index.ts";
import { Disk } from "../disk/index.ts";
import {
  concatenate,
  copy,
  salvaging,
  type CopyOptions,
  type CopySource,
  type ShareMode,
} from "../copy/index.ts";
import { inPart, inQemuWords, PlatterError } from "../errors.ts";
import {
  encryptionServices,
  formatNamed,
  type Format,
  type FormatOptionValues,
} from "../formats/index.ts";
import type { CommandContext } from "./context.ts";
import type { BitmapCopy } from "./convert-bitmaps.ts";
import { createFiles } from "./new-files.ts";
import { asOpenError, openBehind, openImage } from "./open.ts";
import { refuseSameFile, refuseSameStorage } from "./same-file.ts";
import { withDisk } from "./with-disk.ts";

/** What to convert into what. */
export interface ConvertOptions {
  /** Images whose disks follow each other in the target. */
  readonly sources: readonly string[];
  readonly target: string;
  /** Format of the sources; found out when absent. */
  readonly sourceFormat?: string | undefined;
  readonly targetFormat: string;
  /** Creation options of the target by name. */
  readonly targetOptions?: FormatOptionValues | undefined;
  readonly compress?: boolean | undefined;
  /** With `compress`: how hard, 0 to 9 for zlib and 1 to 19 for zstd. Default: Platter's own choice. */
  readonly compressionLevel?: number | undefined;
  /** Threads that compress and decompress; the result does not depend on it. Default: one for each processor. */
  readonly threads?: number | undefined;
  /** Most bytes of memory for data on its way. Default 128 MiB. */
  readonly memory?: number | undefined;
  /**
   * Whether the target's file shares blocks with the source's, as `cp --reflink`: data is not looked at then, so
   * zeros in it stay data. Not with `compress`, nor with `sparseSize` 0. Default `never`.
   */
  readonly share?: ShareMode | undefined;
  /** The target gets this backing image, and only what the source has itself is copied. */
  readonly backing?: BackingReference | undefined;
  /** Runs of zeros of at least this many bytes are not stored; 0 stores everything. */
  readonly sparseSize?: number | undefined;
  /** False (`-n`): write into an existing image or device. */
  readonly createTarget?: boolean | undefined;
  /** The sources' names are lists of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /**
   * With `createTarget: false`: the target's name is a list of options (`--target-image-opts`), and
   * says its format.
   */
  readonly targetImageOpts?: boolean | undefined;
  /** With `createTarget: false`: the target is known to read as zeros. */
  readonly targetIsZero?: boolean | undefined;
  /** Read this internal snapshot of the source instead of its present state; of one source only. */
  readonly snapshot?: SnapshotReference | undefined;
  /** Others may be writing to the sources (`-U`). */
  readonly shared?: boolean | undefined;
  /** The persistent bitmaps of the source, of its top layer only, are copied too. */
  readonly bitmaps?: boolean | undefined;
  /** With `bitmaps`: inconsistent ones are left out; otherwise they are an error. */
  readonly skipBrokenBitmaps?: boolean | undefined;
  /** Everything is on stable storage before the result is reported. */
  readonly sync?: boolean | undefined;
  /** Every write is followed by a flush. */
  readonly writethrough?: boolean | undefined;
  /** Write past the host's page cache. */
  readonly direct?: boolean | undefined;
  /** Read past the host's page cache. */
  readonly sourceDirect?: boolean | undefined;
  /** Most bytes of data copied in a second. */
  readonly bytesPerSecond?: number | undefined;
  /** What cannot be read becomes zeros, sector by sector, and is told here. Absent: it is an error. */
  readonly onReadError?: ((offset: number, error: unknown) => void) | undefined;
}

/** What came of a conversion. */
export interface ConvertResult {
  readonly target: string;
  readonly format: string;
  /** Size of the guest's disk in bytes. */
  readonly size: number;
}

/**
 * Copies disks into a new image, or an existing one. A new image appears under its name only when it
 * is complete, or carries until then a header that nobody opens.
 */
export async function convert(
  options: ConvertOptions,
  context: CommandContext,
): Promise<ConvertResult> {
  const format = checkTarget(options);
  const disks: Disk[] = [];
  try {
    for (const name of options.sources) {
      const source = {
        name,
        format: options.sourceFormat,
        imageOpts: options.imageOpts,
        shared: options.shared,
        direct: options.sourceDirect,
        snapshot: options.snapshot,
      };
      const disk = await openImage(source, context);
      disks.push(disk);
      if (options.shared !== true) keepFromChanging(disk, name);
    }
    if (options.targetImageOpts !== true) await refuseSameFile(disks, options.target, context);
    await refuseDataFile(disks, format, options, context);
    const { onReadError } = options;
    const joined = concatenate(disks);
    const source = onReadError === undefined ? joined : salvaging(joined, onReadError);
    const bitmaps =
      options.bitmaps === true ? await bitmapCopy(disks, options, context) : undefined;
    if (options.createTarget === false)
      await fillExisting(disks, source, format, options, context, bitmaps);
    else await fillNew(source, format, options, context, bitmaps);
    return { target: options.target, format: format.name, size: source.size };
  } finally {
    await Promise.all(disks.map((disk) => disk.close()));
  }
}

/** A copy is of one moment: raw data, too, is not to be written by others meanwhile. */
function keepFromChanging(disk: Disk, name: string): void {
  try {
    for (let layer: Disk | undefined = disk; layer !== undefined; layer = layer.backing) {
      const { format, storage, dataStorage } = layer.image;
      dataStorage?.lock?.("exclusive");
      if (format === "raw") storage.lock?.("exclusive");
    }
  } catch (error) {
    throw asOpenError(error, name);
  }
}

/** The file for the data of the target may be none of those that it comes from. */
async function refuseDataFile(
  disks: readonly Disk[],
  format: Format,
  { target, targetOptions = {}, createTarget }: ConvertOptions,
  context: CommandContext,
): Promise<void> {
  if (createTarget === false) return;
  const file = format.newDataFile?.(targetOptions);
  if (file === undefined) return;
  await refuseSameFile(
    disks,
    context.provider.resolve(file.name, target, "data-file"),
    context,
    target,
  );
}

async function bitmapCopy(
  disks: readonly Disk[],
  options: ConvertOptions,
  context: CommandContext,
): Promise<BitmapCopy> {
  const { prepareBitmapCopy } = await import("./convert-bitmaps.ts");
  return prepareBitmapCopy(disks, options, context);
}

async function fillNew(
  source: CopySource,
  format: Format,
  options: ConvertOptions,
  context: CommandContext,
  bitmaps: BitmapCopy | undefined,
): Promise<void> {
  const { target, backing, targetOptions = {}, sync = false } = options;
  const { codecs } = context;
  const created = await inQemuWords(`${target}: error while converting ${format.name}: `, () =>
    createFiles(target, format, targetOptions, context, options.direct),
  );
  let behind: Disk | undefined;
  try {
    const made = await inQemuWords(`${target}: error while converting ${format.name}: `, async () =>
      format.create!(created.storage, {
        size: source.size,
        backing,
        values: targetOptions,
        dataStorage: created.dataStorage,
        encryption: await encryptionServices(context),
      }),
    );
    if (backing !== undefined) {
      behind = await inQemuWords(`Could not open '${target}': Could not open backing file: `, () =>
        openBehind(backing, target, context, "exclusive"),
      );
    }
    const disk = new Disk(made.image, behind, codecs);
    refuseCompressed(disk, options);
    bitmaps?.refuse(disk);
    await copy(source, disk, context.codecs, {
      ...copyOptions(options, context),
      targetIsZero: backing === undefined && created.areEmpty,
      topLayerOnly: backing !== undefined,
      backed: behind?.size ?? 0,
    });
    await bitmaps?.copy(disk);
    await made.finish({ durable: sync });
    await created.publish({ durable: sync });
  } catch (error) {
    await created.discard();
    throw error;
  } finally {
    await behind?.close();
  }
}

async function fillExisting(
  disks: readonly Disk[],
  source: CopySource,
  format: Format,
  options: ConvertOptions,
  context: CommandContext,
  bitmaps: BitmapCopy | undefined,
): Promise<void> {
  const { target, sync = false, targetIsZero = false } = options;
  const existing = await openImage(
    {
      name: target,
      writable: true,
      barriers: sync,
      direct: options.direct,
      ...(options.targetImageOpts === true ? { imageOpts: true } : { format: format.name }),
    },
    context,
  );
  let hasBegun = false;
  const fill = async (disk: Disk): Promise<void> => {
    if (options.targetImageOpts === true || disk.image.dataStorage !== undefined) {
      refuseSameStorage(disks, disk);
    }
    refuseCompressed(disk, options);
    bitmaps?.refuse(disk);
    if (disk.size < source.size) {
      throw new PlatterError(
        "E_OUT_OF_RANGE",
        `${target}: the target disk has ${disk.size} bytes, the source needs ${source.size}`,
        {
          file: target,
          field: "size",
          value: disk.size,
          qemu: "output file is smaller than input file",
        },
      );
    }
    hasBegun = true;
    await copy(source, disk, context.codecs, { ...copyOptions(options, context), targetIsZero });
    await bitmaps?.copy(disk);
    if (sync) await disk.flush();
  };
  try {
    await withDisk(existing, fill);
  } catch (error) {
    throw hasBegun ? inPart(error, target) : error;
  }
}

/** Data in a file of its own is not compressed. */
function refuseCompressed({ name, image }: Disk, { compress }: ConvertOptions): void {
  if (compress !== true || image.dataStorage === undefined) return;
  throw new PlatterError(
    "E_UNSUPPORTED",
    `${name}: the data goes to a file of its own, ${image.dataStorage.name}, where nothing can be ` +
      `compressed; leave out -c`,
    {
      file: name,
      field: "data file",
      qemu: "error while writing at byte 0: Operation not supported",
    },
  );
}

const copyOptions = (
  options: ConvertOptions,
  { signal, onProgress }: CommandContext,
): CopyOptions => ({
  compress: options.compress ?? false,
  level: options.compressionLevel,
  threads: options.threads,
  memory: options.memory,
  sparse: options.sparseSize ?? 4096,
  share: options.share,
  writethrough: options.writethrough ?? false,
  bytesPerSecond: options.bytesPerSecond,
  signal,
  onProgress,
  words: (doing: string, at: number) => `error while ${doing} at byte ${at}: `,
});

/** Finds out before anything is opened whether the target can be what is asked for. */
function checkTarget({
  target,
  targetFormat,
  compress,
  compressionLevel,
  backing,
  createTarget,
  targetImageOpts,
  share,
  sparseSize,
}: ConvertOptions): Format {
  const format = formatNamed(targetFormat, createTarget === false ? "open" : "create");
  if (createTarget !== false && format.create === undefined) {
    throw new PlatterError("E_UNSUPPORTED", `${target}: ${format.name} images can only be read`, {
      file: target,
      qemu: `Format driver '${format.name}' does not support image creation`,
    });
  }
  if (compress === true && format.name === "raw" && targetImageOpts !== true) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${target}: a ${format.name} image cannot be compressed; use -O qcow2`,
      { file: target, qemu: "Compression not supported for this file format" },
    );
  }
  if (compress !== true && compressionLevel !== undefined) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${target}: compression level ${compressionLevel} says how hard to compress, but nothing is ` +
        `compressed; compress, or leave it out`,
      { file: target, field: "compressionLevel", value: compressionLevel },
    );
  }
  if (share === "always" && (compress === true || sparseSize === 0)) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${target}: what is ${compress === true ? "compressed" : "stored in full"} cannot be shared with the ` +
        `source; leave one of the two out`,
      { file: target, field: "share", value: share },
    );
  }
  if (backing !== undefined && backing.format === undefined) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${target}: the backing file "${backing.name}" needs its format (-F)`,
      { file: target, qemu: "Use of backing file requires explicit backing format" },
    );
  }
  return format;
}
