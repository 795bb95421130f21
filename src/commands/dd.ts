import { alignUp } from "../bytes/index.ts";
import { Disk } from "../disk/index.ts";
import { inQemuWords, PlatterError, throwIfAborted } from "../errors.ts";
import { encryptionServices, formatNamed, type Format } from "../formats/index.ts";
import type { CommandContext } from "./context.ts";
import { createStorageOptions, discardQuietly } from "./new-image.ts";
import { openImage } from "./open.ts";
import { refuseSameFile } from "./same-file.ts";
import { withDisk } from "./with-disk.ts";

/** Which bytes to copy from where to where. */
export interface DdOptions {
  readonly source: string;
  readonly target: string;
  /** Format of the source; found out when absent. */
  readonly sourceFormat?: string | undefined;
  /** The source's name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  readonly targetFormat: string;
  /** Bytes of a block, 1 to 2^31 − 1; default 512. */
  readonly blockSize?: number | undefined;
  /** Where copying stops: blocks counted from the start of the source. As QEMU counts. */
  readonly count?: number | undefined;
  /** Blocks of the source to pass over. */
  readonly skip?: number | undefined;
  /** Blocks of the target to pass over. */
  readonly seek?: number | undefined;
  /** The target exists and keeps what is not written to; it grows where needed. */
  readonly keepTarget?: boolean | undefined;
  /** Others may be writing to the source (`-U`). */
  readonly shared?: boolean | undefined;
  /** Everything is on stable storage before the result is reported. */
  readonly sync?: boolean | undefined;
}

/** What was copied. */
export interface DdResult {
  readonly target: string;
  readonly format: string;
  /** Bytes copied. */
  readonly copied: number;
  /** Size of the target's disk in bytes. */
  readonly size: number;
  /** The source ends before the place that `skip` names. */
  readonly skippedAll: boolean;
}

/** Longest piece that is in memory at once. */
const pieceBytes = 2 * 1024 * 1024;

/**
 * Copies a range of blocks of a disk into a new image, or with `keepTarget` into an existing one,
 * byte by byte: zeros are stored too. `qemu-img` counts `count` from the start of the source and not
 * from `skip`; so does this.
 */
export async function dd(options: DdOptions, context: CommandContext): Promise<DdResult> {
  const { source: name, target, sourceFormat: format, imageOpts, shared } = options;
  await using source = await openImage({ name, format, imageOpts, shared }, context);
  const targetFormat = writableFormat(options);
  const { blockSize = 512, count = Infinity, skip = 0, seek = 0 } = options;
  const end = Math.min(source.size, blockSize * count);
  const start = skip * blockSize;
  const job: Job = {
    source,
    start: Math.min(start, end),
    end,
    at: seek * blockSize,
    piece: blockSize >= pieceBytes ? pieceBytes : blockSize * Math.floor(pieceBytes / blockSize),
  };
  await refuseSameFile([source], target, context);
  const exists = options.keepTarget === true && (await context.provider.exists(target));
  const size = exists
    ? await fillExisting(job, targetFormat, options, context)
    : await fillNew(job, targetFormat, options, context);
  const copied = job.end - job.start;
  return { target, format: targetFormat.name, copied, size, skippedAll: start > end };
}

/** Source bytes [start, end) go to target offset `at`. */
interface Job {
  readonly source: Disk;
  readonly start: number;
  readonly end: number;
  readonly at: number;
  readonly piece: number;
}

async function fillNew(
  job: Job,
  format: Format,
  { target, sync = false }: DdOptions,
  context: CommandContext,
): Promise<number> {
  const size = alignUp(job.at + job.end - job.start, 512);
  const creating = `${target}: error while creating output image: `;
  const created = await inQemuWords(creating, () =>
    context.provider.create(target, createStorageOptions(format, {})),
  );
  try {
    const encryption = await encryptionServices(context);
    const made = await inQemuWords(creating, () =>
      format.create!(created.storage, { size, encryption }),
    );
    const disk = new Disk(made.image, undefined, context.codecs);
    await copyBlocks(job, disk, context);
    await made.finish({ durable: sync });
    await created.storage.close();
    await created.publish({ durable: sync });
    return size;
  } catch (error) {
    await discardQuietly(created);
    throw error;
  }
}

async function fillExisting(
  job: Job,
  format: Format,
  { target, sync = false }: DdOptions,
  context: CommandContext,
): Promise<number> {
  const existing = await openImage(
    { name: target, format: format.name, writable: true, rawLock: "shared-resize" },
    context,
  );
  return withDisk(existing, async (disk) => {
    const needed = alignUp(job.at + job.end - job.start, 512);
    if (needed > disk.size) await disk.resize(needed);
    await copyBlocks(job, disk, context);
    if (sync) await disk.flush();
    return disk.size;
  });
}

async function copyBlocks(
  { source, start, end, at, piece }: Job,
  target: Disk,
  { signal, onProgress }: CommandContext,
): Promise<void> {
  const total = end - start;
  const buffer = new Uint8Array(Math.min(piece, total));
  for (let done = 0; done < total;) {
    throwIfAborted(signal);
    onProgress?.({ done, total });
    const bytes = buffer.subarray(0, Math.min(piece, total - done));
    await inQemuWords("error while reading from input image file: ", () =>
      source.read(start + done, bytes),
    );
    await inQemuWords("error while writing to output image file: ", () =>
      target.write(at + done, bytes),
    );
    done += bytes.length;
  }
  onProgress?.({ done: total, total });
}

function writableFormat({ targetFormat, target }: DdOptions): Format {
  const format = inDdWords(() => formatNamed(targetFormat, "create"));
  if (format.create !== undefined) return format;
  throw new PlatterError("E_UNSUPPORTED", `${target}: ${format.name} images can only be read`, {
    file: target,
    qemu: `Format driver '${format.name}' does not support image creation`,
  });
}

/** qemu-img dd does not name the format that it does not know. */
function inDdWords<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    throw new PlatterError(error.code, error.message, {
      ...error.details,
      qemu: "Unknown file format",
    });
  }
}
