import type { BackingReference } from "../disk/index.ts";
import { Disk } from "../disk/index.ts";
import { concatenate, copy, type CopySource } from "../copy/index.ts";
import { PlatterError } from "../errors.ts";
import { formatNamed, openDisk, type Format, type FormatOptionValues } from "../formats/index.ts";
import type { StorageProvider } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";
import type { BitmapCopy } from "./convert-bitmaps.ts";
import { createStorageOptions, discardQuietly, inQemuWords } from "./new-image.ts";
import { openImage } from "./open.ts";

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
  /** The target gets this backing image, and only what the source has itself is copied. */
  readonly backing?: BackingReference | undefined;
  /** Runs of zeros of at least this many bytes are not stored; 0 stores everything. */
  readonly sparseSize?: number | undefined;
  /** False (`-n`): write into an existing image or device. */
  readonly createTarget?: boolean | undefined;
  /** With `createTarget: false`: the target is known to read as zeros. */
  readonly targetIsZero?: boolean | undefined;
  /** Others may be writing to the sources (`-U`). */
  readonly shared?: boolean | undefined;
  /** The persistent bitmaps of the source, of its top layer only, are copied too. */
  readonly bitmaps?: boolean | undefined;
  /** With `bitmaps`: inconsistent ones are left out; otherwise they are an error. */
  readonly skipBrokenBitmaps?: boolean | undefined;
  /** Everything is on stable storage before the result is reported. */
  readonly sync?: boolean | undefined;
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
      const source = { name, format: options.sourceFormat, shared: options.shared };
      disks.push(await openImage(source, context));
    }
    await refuseSameFile(disks, options.target, context);
    const source = concatenate(disks);
    const bitmaps =
      options.bitmaps === true ? await bitmapCopy(disks, options, context) : undefined;
    if (options.createTarget === false)
      await fillExisting(source, format, options, context, bitmaps);
    else await fillNew(source, format, options, context, bitmaps);
    return { target: options.target, format: format.name, size: source.size };
  } finally {
    await Promise.all(disks.map((disk) => disk.close()));
  }
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
  const { provider, codecs } = context;
  const created = await inQemuWords(`${target}: error while converting ${format.name}: `, () =>
    provider.create(target, createStorageOptions(format, targetOptions)),
  );
  let behind: Disk | undefined;
  try {
    const made = await inQemuWords(`${target}: error while converting ${format.name}: `, () =>
      format.create!(created.storage, { size: source.size, backing, values: targetOptions }),
    );
    if (backing !== undefined) {
      behind = await inQemuWords(`Could not open '${target}': Could not open backing file: `, () =>
        openBacking(backing, target, context),
      );
    }
    const disk = new Disk(made.image, behind, codecs);
    bitmaps?.refuse(disk);
    await copy(source, disk, {
      ...copyOptions(options, context),
      targetIsZero: backing === undefined && created.storage.isDevice !== true,
      topLayerOnly: backing !== undefined,
    });
    await bitmaps?.copy(disk);
    await made.finish({ durable: sync });
    await created.storage.close();
    await created.publish();
  } catch (error) {
    await discardQuietly(created);
    throw error;
  } finally {
    await behind?.close();
  }
}

async function fillExisting(
  source: CopySource,
  format: Format,
  options: ConvertOptions,
  context: CommandContext,
  bitmaps: BitmapCopy | undefined,
): Promise<void> {
  const { target, sync = false, targetIsZero = false } = options;
  await using disk = await openImage(
    { name: target, format: format.name, writable: true, barriers: sync },
    context,
  );
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
  await copy(source, disk, { ...copyOptions(options, context), targetIsZero });
  await bitmaps?.copy(disk);
  if (sync) await disk.flush();
}

async function openBacking(
  backing: BackingReference,
  target: string,
  { provider, codecs, signal }: CommandContext,
): Promise<Disk> {
  const open = (reference: BackingReference, image: string) =>
    provider.open(provider.resolve(reference.name, image), { writable: false, lock: "none" });
  return openDisk(await open(backing, target), {
    format: backing.format,
    codecs,
    signal,
    references: (reference, image) => open(reference, image.name),
  });
}

const copyOptions = (options: ConvertOptions, { signal, onProgress }: CommandContext) => ({
  compress: options.compress ?? false,
  sparse: options.sparseSize ?? 4096,
  signal,
  onProgress,
});

/** Finds out before anything is opened whether the target can be what is asked for. */
function checkTarget({
  target,
  targetFormat,
  compress,
  backing,
  createTarget,
}: ConvertOptions): Format {
  const format = formatNamed(targetFormat, createTarget === false ? "open" : "create");
  if (createTarget !== false && format.create === undefined) {
    throw new PlatterError("E_UNSUPPORTED", `${target}: ${format.name} images can only be read`, {
      file: target,
      qemu: `Format driver '${format.name}' does not support image creation`,
    });
  }
  if (compress === true && format.name === "raw") {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${target}: a ${format.name} image cannot be compressed; use -O qcow2`,
      { file: target, qemu: "Compression not supported for this file format" },
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

/** Writing an image over itself, or over one that it is made of, would destroy it. */
async function refuseSameFile(
  disks: readonly Disk[],
  target: string,
  { provider }: CommandContext,
): Promise<void> {
  const identity = await identityOf(target, provider);
  if (identity === undefined) return;
  for (const disk of disks) {
    for (let layer: Disk | undefined = disk; layer !== undefined; layer = layer.backing) {
      if (layer.image.storage.identity !== identity) continue;
      throw new PlatterError(
        "E_SAME_FILE",
        `${target}: the target is (or is behind) the source ${disk.name}; choose another name`,
        {
          file: target,
          qemu:
            `${target}: error while converting ${layer.image.format}: Failed to get "write" lock\n` +
            `Is another process using the image [${target}]?`,
        },
      );
    }
  }
}

/** Undefined where there is nothing yet, or nothing that could be opened: creating it will tell. */
async function identityOf(name: string, provider: StorageProvider): Promise<string | undefined> {
  try {
    const storage = await provider.open(name, { writable: false, lock: "none" });
    await storage.close();
    return storage.identity;
  } catch {
    return undefined;
  }
}
