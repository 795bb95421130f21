import { alignDown, alignUp, isZero } from "../bytes/index.ts";
import type { BackingReference, Disk } from "../disk/index.ts";
import { PlatterError, throwIfAborted } from "../errors.ts";
import { formatNamed } from "../formats/index.ts";
import type { CommandContext } from "./context.ts";
import { asOpenError, openBehind, openImage } from "./open.ts";

/** Which image gets which other one behind it. */
export interface RebaseOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** The new backing file, as it shall stand in the image; absent: none any more. */
  readonly backing?: BackingReference | undefined;
  /**
   * Change the name and nothing else (`-u`): for a backing file that was moved. Otherwise what the
   * guest sees stays the same, and what differs between the old and the new one is copied.
   */
  readonly unsafe?: boolean | undefined;
  /** What has to be copied into the image is stored compressed, by whole clusters; not with `unsafe`. */
  readonly compress?: boolean | undefined;
  /** Guest data and metadata reach stable storage in order; default true. */
  readonly sync?: boolean | undefined;
  /** Past the host's page cache. */
  readonly direct?: boolean | undefined;
}

/** What came of it. */
export interface RebaseResult {
  readonly filename: string;
  readonly backing: BackingReference | undefined;
  /** Bytes that had to be copied into the image because the new backing file differs. */
  readonly copied: number;
}

/** See the function of the same name in lazy.ts. */
export async function rebase(
  options: RebaseOptions,
  context: CommandContext,
): Promise<RebaseResult> {
  const { name, format, imageOpts, backing, unsafe = false, direct, sync = true } = options;
  const { compress = false } = options;
  if (unsafe && compress) throw nothingToCompress(name);
  const opening = { name, format, imageOpts, direct, writable: true, barriers: sync };
  const disk = await openImage({ ...opening, alone: unsafe }, context);
  let behind: Disk | undefined;
  let copied = 0;
  try {
    checkFormat(backing?.format);
    if (compress) disk.checkCompressible(0, Math.min(disk.size, disk.image.clusterSize));
    if (!unsafe) {
      behind = await openNew(backing, disk, context);
      copied = await keepContents(disk, behind, compress, context);
    }
    await change(disk, backing);
  } catch (error) {
    await disk.close().catch(() => undefined);
    throw error;
  } finally {
    await behind?.close();
  }
  const filename = disk.name;
  await disk.close();
  return { filename, backing, copied };
}

function nothingToCompress(file: string): PlatterError {
  return new PlatterError(
    "E_INVALID_ARGUMENT",
    `${file}: -c is about data that is copied into the image, and with -u none is; leave one of them out`,
    { file, field: "compress", qemu: "Cannot use -c and -u together" },
  );
}

function checkFormat(format: string | undefined): void {
  try {
    if (format !== undefined) formatNamed(format, "open");
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    const qemu = `Invalid format name: '${format}'`;
    throw new PlatterError(error.code, error.message, { ...error.details, qemu });
  }
}

async function openNew(
  backing: BackingReference | undefined,
  disk: Disk,
  context: CommandContext,
): Promise<Disk | undefined> {
  if (backing === undefined) return undefined;
  try {
    // What it has is compared: nobody may change it meanwhile.
    return await openBehind(backing, disk.name, context, "exclusive");
  } catch (error) {
    const resolved = context.provider.resolve(backing.name, disk.name);
    const told = asOpenError(error, resolved);
    if (!(told instanceof PlatterError) || told.code === "E_ABORTED") throw told;
    // QEMU names the file once where it is the one that cannot be opened.
    const why = error instanceof PlatterError ? (error.details.qemu ?? error.message) : "";
    const qemu = `Could not open new backing file '${backing.name}': ${why}`;
    throw new PlatterError(told.code, told.message, { ...told.details, qemu });
  }
}

const step = 2 * 1024 * 1024;
const sector = 512;

/**
 * Copies into the image what it does not have of its own and what the new backing disk has
 * differently. Until the reference is changed, none of that changes what the guest sees.
 */
async function keepContents(
  disk: Disk,
  behind: Disk | undefined,
  compress: boolean,
  { signal, onProgress }: CommandContext,
): Promise<number> {
  const same = depthOf(behind, disk);
  const keeper = new Keeper(disk, behind, (done) => {
    throwIfAborted(signal);
    onProgress?.({ done, total: disk.size });
  });
  onProgress?.({ done: 0, total: disk.size });
  const { clusterSize } = disk.image;
  for (const [start, end] of await foreign(disk, same, signal)) {
    // Clusters that the image has a part of already cannot become compressed ones.
    const first = compress ? Math.min(end, alignUp(start, clusterSize)) : end;
    const last = end === disk.size ? end : Math.max(first, alignDown(end, clusterSize));
    await keeper.keep(start, first);
    await keeper.keepCompressed(first, last);
    await keeper.keep(last, end);
  }
  // All of it is there for good before the old backing file is let go of.
  await disk.flush();
  return keeper.copied;
}

/** Keeps in an image what it shows from behind. */
class Keeper {
  /** Bytes that had to be written. */
  copied = 0;
  private readonly disk: Disk;
  private readonly behind: Disk | undefined;
  private readonly onPiece: (done: number) => void;
  private readonly buffers = [new Uint8Array(step), new Uint8Array(step)] as const;

  /** `onPiece` is told up to where everything has been kept, and may throw. */
  constructor(disk: Disk, behind: Disk | undefined, onPiece: (done: number) => void) {
    this.disk = disk;
    this.behind = behind;
    this.onPiece = onPiece;
  }

  /** Keeps the sectors of [start, end) that the new backing disk has differently. */
  async keep(start: number, end: number): Promise<void> {
    const { disk, behind, buffers } = this;
    const old = disk.backing;
    for (let at = start; at < end;) {
      // A piece lies inside of the old backing disk, or behind its end.
      const oldEnd = old?.size ?? 0;
      const stop = Math.min(end, at + step, at < oldEnd ? oldEnd : Infinity);
      const before = await readOr0(old, at, buffers[0].subarray(0, stop - at));
      const after = await readOr0(behind, at, buffers[1].subarray(0, stop - at));
      const isZeroes = at >= oldEnd;
      for (const [from, to] of differences(before, after)) {
        if (isZeroes) await disk.writeZeroes(at + from, to - from, { unmap: false });
        else await disk.write(at + from, before.subarray(from, to));
        this.copied += to - from;
      }
      at = stop;
      this.onPiece(at);
    }
  }

  /** As {@link Keeper.keep}, of whole clusters, of which a differing one is stored compressed. */
  async keepCompressed(start: number, end: number): Promise<void> {
    const { disk, behind, buffers } = this;
    const { clusterSize } = disk.image;
    for (let at = start; at < end;) {
      const stop = Math.min(end, at + clusterSize);
      const before = buffers[0].subarray(0, stop - at);
      await disk.read(at, before);
      const after = await readOr0(behind, at, buffers[1].subarray(0, stop - at));
      if (!differences(before, after).next().done) {
        if (isZero(before)) await disk.writeZeroes(at, stop - at, { unmap: false });
        else await disk.writeCompressed(at, before);
        this.copied += stop - at;
      }
      at = stop;
      this.onPiece(at);
    }
  }
}

/** The ranges that come from behind the image, but not from a layer that stays behind it. */
async function foreign(
  disk: Disk,
  same: number,
  signal: AbortSignal | undefined,
): Promise<Array<readonly [start: number, end: number]>> {
  const ranges: Array<[number, number]> = [];
  for await (const { start, length, depth, present } of disk.extents({ signal })) {
    if ((depth === 0 && present) || depth >= same) continue;
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === start) last[1] = start + length;
    else ranges.push([start, start + length]);
  }
  return ranges;
}

/** How far down the chain of `disk` the new backing disk is already; Infinity where it is not. */
function depthOf(behind: Disk | undefined, disk: Disk): number {
  const identity = behind?.image.storage.identity;
  if (identity === undefined) return Infinity;
  let depth = 1;
  for (let layer = disk.backing; layer !== undefined; layer = layer.backing, depth++) {
    if (layer.image.storage.identity === identity && layer.size === behind?.size) return depth;
  }
  return Infinity;
}

/** What a disk has there; zeros behind its end, which may lie inside. */
async function readOr0(disk: Disk | undefined, at: number, into: Uint8Array): Promise<Uint8Array> {
  const inside = Math.max(0, Math.min(into.length, (disk?.size ?? 0) - at));
  into.fill(0, inside);
  if (inside > 0) await disk?.read(at, into.subarray(0, inside));
  return into;
}

/** Runs of sectors that differ. */
function* differences(
  a: Uint8Array,
  b: Uint8Array,
): Generator<readonly [from: number, to: number]> {
  let start = -1;
  for (let at = 0; at < a.length; at += sector) {
    const isSame = equal(a.subarray(at, at + sector), b.subarray(at, at + sector));
    if (isSame && start >= 0) {
      yield [start, at];
      start = -1;
    } else if (!isSame && start < 0) start = at;
  }
  if (start >= 0) yield [start, a.length];
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Changes the reference; what it says when it cannot be is QEMU's. */
async function change(disk: Disk, backing: BackingReference | undefined): Promise<void> {
  const refuse = (
    code: "E_UNSUPPORTED" | "E_INVALID_ARGUMENT" | "E_NO_SPACE",
    why: string,
    qemu: string,
  ) =>
    new PlatterError(code, `${disk.name}: ${why}`, {
      file: disk.name,
      field: "backing file",
      value: backing?.name,
      qemu: `Could not change the backing file to '${backing?.name ?? ""}': ${qemu}`,
    });
  if (backing !== undefined && backing.format === undefined) {
    throw refuse(
      "E_INVALID_ARGUMENT",
      `the format of ${backing.name} has to be given with it: found out later, it could be another`,
      "backing format must be specified",
    );
  }
  const { writer } = disk.image;
  if (writer?.setBacking === undefined) {
    const why = `a ${disk.image.format} image has no backing file`;
    throw refuse("E_UNSUPPORTED", why, "Operation not supported");
  }
  try {
    await writer.setBacking(backing);
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    if (error.code === "E_NO_SPACE") {
      throw refuse("E_NO_SPACE", error.message, "No space left in the file header");
    }
    if (error.code === "E_INVALID_ARGUMENT") {
      throw refuse("E_INVALID_ARGUMENT", error.message, "Invalid argument");
    }
    throw error;
  }
}
