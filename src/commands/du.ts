import {
  HostAllocation,
  detectPreallocation,
  placeTotals,
  type DetectedPreallocation,
  type Disk,
  type PlaceTotals,
} from "../disk/index.ts";
import { throwIfAborted } from "../errors.ts";
import type { Storage, Volume } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";
import { inspectImage } from "./inspect.ts";

/** Which images to measure. */
export interface DuOptions {
  readonly names: readonly string[];
  /** The format of all of them; found out when absent. */
  readonly format?: string | undefined;
  /** Read what has been written, and count what is not zero. */
  readonly scan?: boolean | undefined;
}

/** What one image takes. All sizes are bytes. */
export interface ImageUsage {
  readonly filename: string;
  readonly format: string;
  /** Size of the guest's disk. */
  readonly virtualSize: number;
  /** Length of the file, as `ls -l` shows it. */
  readonly fileLength: number;
  /** What the host has allocated, as `du` shows it; undefined where it cannot tell. */
  readonly allocated: number | undefined;
  /** At most this much of the guest's disk has been written to this image. */
  readonly written: number;
  /** What of it is not zero; only after a scan. */
  readonly nonZero: NonZero | undefined;
  /** How it was preallocated, as far as that shows. */
  readonly preallocation: DetectedPreallocation;
  /** The guest's disk by what the image and the host have for it. */
  readonly places: PlaceTotals;
  /** What the file can still grow by on the host when the guest writes everywhere. */
  readonly growth: number;
  /** The image behind this one, which is not counted here. */
  readonly backingFilename: string | undefined;
  readonly isDevice: boolean;
}

/** What a scan found. */
export interface NonZero {
  /** Bytes that are not zero. */
  readonly bytes: number;
  /** Bytes in blocks of 4 KiB that are not all zero. */
  readonly blocks: number;
}

/** A filesystem, and what the measured images on it may still want of it. */
export interface VolumeUsage extends Omit<Volume, "id"> {
  /** The images on it. */
  readonly filenames: readonly string[];
  /** Sum of their {@link ImageUsage.growth}. */
  readonly growth: number;
  /** By how much that is more than what is free; 0 when it is not. */
  readonly overcommitted: number;
}

/** What {@link du} found. */
export interface DuResult {
  readonly images: readonly ImageUsage[];
  readonly volumes: readonly VolumeUsage[];
}

/** See the function of the same name in lazy.ts. */
export async function du(options: DuOptions, context: CommandContext): Promise<DuResult> {
  const images: ImageUsage[] = [];
  const volumes = new Map<string, VolumeUsage>();
  const seen = new Set<string>();
  for (const name of options.names) {
    await using opened = await inspectImage(name, options.format, context);
    const { storage, disk } = opened;
    const usage = await measureImage(disk, options, context);
    images.push(usage);
    const volume = await storage.volume?.();
    const isNew = storage.identity === undefined || !seen.has(storage.identity);
    if (storage.identity !== undefined) seen.add(storage.identity);
    if (volume !== undefined && isNew) addTo(volumes, volume, usage);
  }
  return { images, volumes: [...volumes.values()] };
}

async function measureImage(
  disk: Disk,
  { scan = false }: DuOptions,
  context: CommandContext,
): Promise<ImageUsage> {
  const { image } = disk;
  const { storage } = image;
  const allocation = await HostAllocation.read(storage);
  const sums = await placeTotals(disk, allocation, context);
  const { places } = sums;
  const written = places.written + places.compressed + places.unknown;
  return {
    filename: storage.name,
    format: image.format,
    virtualSize: disk.size,
    fileLength: storage.size,
    allocated: storage.isDevice === true ? undefined : await storage.allocatedBytes?.(),
    written,
    nonZero: scan ? await countNonZero(disk, written, context) : undefined,
    preallocation: detectPreallocation(sums),
    places,
    growth: growthOf(storage, places),
    backingFilename: image.backing?.name,
    isDevice: storage.isDevice === true,
  };
}

/** A rewritten compressed cluster takes a new place, and may not give the old one back. */
function growthOf(storage: Storage, places: PlaceTotals): number {
  if (storage.isDevice === true) return 0;
  return places.none + places.zero + places.hole + places.compressed;
}

function addTo(volumes: Map<string, VolumeUsage>, volume: Volume, usage: ImageUsage): void {
  const { id, ...facts } = volume;
  const before = volumes.get(id);
  const growth = (before?.growth ?? 0) + usage.growth;
  volumes.set(id, {
    ...facts,
    filenames: [...(before?.filenames ?? []), usage.filename],
    growth,
    overcommitted: Math.max(0, growth - facts.free),
  });
}

const scanStep = 1024 * 1024;
const block = 4096;

/** Reads everything that may have been written. */
async function countNonZero(
  disk: Disk,
  total: number,
  { signal, onProgress }: CommandContext,
): Promise<NonZero> {
  const buffer = new Uint8Array(scanStep);
  let bytes = 0;
  let blocks = 0;
  let done = 0;
  for await (const extent of disk.extents({ holes: true, signal })) {
    if (!extent.data || extent.zero) continue;
    const end = extent.start + extent.length;
    for (let at = extent.start; at < end;) {
      throwIfAborted(signal);
      // Steps end at whole blocks of the disk, wherever the extent starts.
      const stop = Math.min(end, (Math.floor(at / scanStep) + 1) * scanStep);
      const piece = buffer.subarray(0, stop - at);
      await disk.read(at, piece);
      for (let from = 0; from < piece.length;) {
        const to = Math.min(piece.length, from + block - ((at + from) % block));
        const count = nonZeroBytes(piece.subarray(from, to));
        bytes += count;
        if (count > 0) blocks += to - from;
        from = to;
      }
      done += piece.length;
      onProgress?.({ done: Math.min(done, total), total });
      at = stop;
    }
  }
  return { bytes, blocks };
}

function nonZeroBytes(bytes: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) count++;
  return count;
}
