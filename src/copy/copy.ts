import { Buffers } from "../bytes/index.ts";
import { localPool, type CodecPool, type Codecs, type FileMovers } from "../codec/index.ts";
import { Gatherer, type Disk } from "../disk/index.ts";
import { inQemuWords, PlatterError, throwIfAborted } from "../errors.ts";
import { Ahead } from "./ahead.ts";
import { batched, carryBatch, type Batch } from "./batches.ts";
import { Loader, type LoadedSegment, type Packing } from "./loader.ts";
import { Mover } from "./mover.ts";
import { Pace } from "./pace.ts";
import { cutZeros, plan, planTopLayer, type Segment } from "./plan.ts";
import { Sharing, type ShareMode } from "./sharing.ts";
import type { CopySource } from "./source.ts";
import { WriteWindow } from "./write-window.ts";

/** How far a copy has come. */
export interface CopyProgress {
  /** Guest bytes dealt with. */
  readonly done: number;
  /** Guest bytes in all. */
  readonly total: number;
}

/** How a disk is copied. */
export interface CopyOptions {
  /** Compress each cluster. */
  readonly compress?: boolean;
  /** With `compress`: how hard; the codec's own level if absent. */
  readonly level?: number | undefined;
  /**
   * Runs of zeros of at least this many bytes are not stored; 0 stores everything, and Infinity what
   * the source stores. Default 4096.
   */
  readonly sparse?: number;
  /** The target reads as zeros already: zeros need no writing. */
  readonly targetIsZero?: boolean;
  /** The target has the source's backing images behind it: copy only the source's top layer. */
  readonly topLayerOnly?: boolean;
  /**
   * With `topLayerOnly`: from this guest offset on the target reads as zeros already. Default: it does
   * nowhere.
   */
  readonly backed?: number;
  /** With `topLayerOnly`: pieces are widened to multiples of this many bytes. Default 1. */
  readonly unit?: number;
  /** Whether data is shared with the source instead of copied; never with `compress` or `sparse` 0. Default `never`. */
  readonly share?: ShareMode | undefined;
  /** A flush after each write. */
  readonly writethrough?: boolean;
  /** Most bytes of data moved in a second. */
  readonly bytesPerSecond?: number | undefined;
  /** Threads that compress and decompress. Default: one for each processor. */
  readonly threads?: number | undefined;
  /** Most bytes of memory for data on its way. Default 128 MiB; at least two segments are held. */
  readonly memory?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined;
  /** What QEMU says in front of its words for an error, if anything. */
  readonly words?: CopyWords;
}

/** Names what a copy was doing at a guest offset. */
export type CopyWords = (doing: "reading" | "writing", at: number) => string;

const noWords: CopyWords = () => "";

/** Longest piece that is read at once. */
const segmentBytes = 2 * 1024 * 1024;

/** Runs of zeros as long as these are not stored, unless said otherwise. */
const defaultSparse = 4096;

/** Memory for data on its way, unless said otherwise. */
const defaultMemory = 128 * 1024 * 1024;

/**
 * Segments that are being written while the next one is begun. More would wait for each other in the kernel:
 * a file has one writer at a time.
 */
const writesAhead = 1;

/**
 * Copies all of `source` to the start of `target`, which must be at least as large. The plan is made
 * from the mapping; data is read, compressed and decompressed several segments ahead of writing.
 */
export async function copy(
  source: CopySource,
  target: Disk,
  codecs: Codecs,
  options: CopyOptions,
): Promise<void> {
  if (target.size < source.size) {
    throw new PlatterError(
      "E_OUT_OF_RANGE",
      `${target.name}: the target disk has ${target.size} bytes, the source ${source.size}`,
      { file: target.name, field: "size", value: target.size },
    );
  }
  const packing = options.compress === true ? packingFor(target, options.level) : undefined;
  const pool = codecs.pool?.(options.threads) ?? localPool(codecs);
  const movers = isForMovers(target, options) ? codecs.movers?.(options.threads) : undefined;
  try {
    const buffers = new Buffers(codecs.allocate);
    await carry(source, target, { pool, buffers, packing, movers }, options);
  } finally {
    await pool.close();
    await movers?.close();
  }
}

/** What a copy uses besides its disks. */
interface Means {
  readonly pool: CodecPool;
  readonly buffers: Buffers;
  readonly packing: Packing | undefined;
  readonly movers: FileMovers | undefined;
}

async function carry(
  source: CopySource,
  target: Disk,
  { pool, buffers, packing, movers }: Means,
  options: CopyOptions,
): Promise<void> {
  const { signal, onProgress, bytesPerSecond, memory = defaultMemory } = options;
  const total = source.size;
  onProgress?.({ done: 0, total });
  const segments = segmentsOf(source, target, options);
  const sharing = new Sharing(shareMode(options), target.name, copyUnit(target));
  const gatherer = new Gatherer(pool, buffers);
  const loader = new Loader(source, gatherer, pool, buffers, {
    sharing,
    bufferBytes: segmentBytes,
    zeros: options.sparse === 0,
    packing,
  });
  // Packed bytes, of the source or for the target, take as much again.
  const held = Math.max(2, Math.floor(memory / (2 * segmentBytes)));
  const writing = Math.min(writesAhead, Math.floor(held / 2));
  const reading = Math.min(2 * pool.width + 1, held - writing);
  const window = new WriteWindow(target, writing);
  const mover = new Mover(target, window, copyUnit(target), options);
  const pace = bytesPerSecond === undefined ? undefined : new Pace(bytesPerSecond, signal);
  const { words = noWords } = options;
  const load = (segment: Segment): Promise<LoadedSegment> =>
    inQemuWords(words("reading", segment.start), () => loader.load(segment));
  const write = async (loaded: LoadedSegment): Promise<void> => {
    const { segment, bytes } = loaded;
    await pace?.spend(bytes === undefined ? 0 : segment.end - segment.start);
    let current = loaded;
    const move = async (): Promise<void> => {
      if (current.located !== undefined) {
        if (await mover.share(current)) {
          sharing.worked();
          return;
        }
        sharing.failed(segment);
        loader.done(current);
        current = await loader.read(segment);
      }
      await mover.move(current);
    };
    await window.group(words("writing", segment.start), move, () => loader.done(current));
    onProgress?.({ done: segment.end, total });
  };
  const carrying = movers && {
    target,
    movers,
    sparse: options.sparse ?? defaultSparse,
    unit: mover.unit,
    words,
    signal,
    onDone: (done: number): void => onProgress?.({ done, total }),
    alone: async (segment: Segment): Promise<void> => {
      await write(await load(segment));
      await window.settle();
    },
  };
  const items = carrying === undefined ? segments : batched(segments, source, gatherer);
  const prepare = async (item: Segment | Batch): Promise<LoadedSegment | Batch> =>
    "found" in item ? item : load(item);
  const ahead = new Ahead<Segment | Batch, LoadedSegment | Batch>(items, prepare, reading);
  try {
    for (;;) {
      const next = await ahead.next();
      throwIfAborted(signal);
      if (next === undefined) break;
      if ("found" in next) {
        try {
          await window.settle();
          await carryBatch(next, carrying!);
        } finally {
          next.release();
        }
      } else {
        await write(next);
      }
    }
    await window.settle();
  } catch (error) {
    await window.giveUp();
    throw error;
  } finally {
    // Nothing may be reading from the source when its owner closes it.
    await ahead.close();
  }
  onProgress?.({ done: total, total });
}

/**
 * Whether movers may copy to `target` by themselves: it is an open file that is empty, and all that is wanted is that
 * what is not zeros gets there.
 */
const isForMovers = (target: Disk, options: CopyOptions): boolean =>
  options.targetIsZero === true &&
  options.topLayerOnly !== true &&
  options.compress !== true &&
  options.sparse !== 0 &&
  options.writethrough !== true &&
  options.bytesPerSecond === undefined &&
  shareMode(options) === "never" &&
  !target.data.isEncrypted &&
  target.data.storage.descriptor !== undefined &&
  target.givesManyPlaces;

/** What is packed, or stored zeros and all, has to be looked at. */
const shareMode = ({ share = "never", compress, sparse }: CopyOptions): ShareMode =>
  compress === true || sparse === 0 ? "never" : share;

function segmentsOf(
  source: CopySource,
  target: Disk,
  { topLayerOnly = false, compress, unit, backed, sparse, signal }: CopyOptions,
): AsyncGenerator<Segment> {
  const cut = { longest: segmentBytes, signal };
  const segments = topLayerOnly
    ? planTopLayer(source, {
        ...cut,
        // Only whole clusters can be compressed.
        unit: compress === true ? copyUnit(target) : (unit ?? 1),
        backed: backed ?? source.size,
      })
    : plan(source, { ...cut, unit: copyUnit(target) });
  return sparse === 0 ? cutZeros(segments, segmentBytes) : segments;
}

/** Segments start and end at clusters of the target, so that no cluster is written twice. */
function copyUnit(target: Disk): number {
  return Math.min(segmentBytes, Math.max(512, target.image.clusterSize));
}

/** How the clusters of `target` are compressed. Throws `E_UNSUPPORTED` when they cannot be. */
function packingFor(target: Disk, level: number | undefined): Packing {
  const { clusterSize, compression } = target.image;
  target.checkCompressible(0, Math.min(clusterSize, target.size));
  return { type: compression ?? "zlib", level, clusterSize, targetSize: target.size };
}
