import { alignDown, alignUp, isZero } from "../bytes/index.ts";
import type { Disk } from "../disk/index.ts";
import { inQemuWords, PlatterError, throwIfAborted } from "../errors.ts";
import { dataRuns } from "./data-runs.ts";
import { Pace } from "./pace.ts";
import { plan, planTopLayer, type Segment } from "./plan.ts";
import type { CopySource } from "./source.ts";

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
  /** A flush after each write. */
  readonly writethrough?: boolean;
  /** Most bytes of data moved in a second. */
  readonly bytesPerSecond?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined;
  /** What QEMU says in front of its words for an error, if anything. */
  readonly words?: CopyWords;
}

/** Names what a copy was doing at a guest offset. */
export type CopyWords = (doing: "reading" | "writing", at: number) => string;

const noWords: CopyWords = () => "";

/** Longest piece that is read at once. Two are in memory: one being read, one being written. */
const segmentBytes = 2 * 1024 * 1024;

/**
 * Copies all of `source` to the start of `target`, which must be at least as large. The plan is made
 * from the mapping; the data is read a segment ahead of writing.
 */
export async function copy(source: CopySource, target: Disk, options: CopyOptions): Promise<void> {
  const { signal, onProgress, topLayerOnly = false } = options;
  if (target.size < source.size) {
    throw new PlatterError(
      "E_OUT_OF_RANGE",
      `${target.name}: the target disk has ${target.size} bytes, the source ${source.size}`,
      { file: target.name, field: "size", value: target.size },
    );
  }
  const total = source.size;
  onProgress?.({ done: 0, total });
  const segments = topLayerOnly
    ? planTopLayer(source, {
        // Only whole clusters can be compressed.
        unit: options.compress === true ? copyUnit(target) : (options.unit ?? 1),
        longest: segmentBytes,
        signal,
        backed: options.backed ?? source.size,
      })
    : plan(source, { unit: copyUnit(target), longest: segmentBytes, signal });
  const reader = new SegmentReader(source, segments, options.words ?? noWords);
  const mover = new Mover(target, options);
  const { bytesPerSecond } = options;
  const pace = bytesPerSecond === undefined ? undefined : new Pace(bytesPerSecond, signal);
  let ahead = reader.next();
  try {
    for (;;) {
      const current = await ahead;
      if (current === undefined) break;
      throwIfAborted(signal);
      ahead = reader.next();
      // Its error is thrown when its turn comes, unless writing fails first.
      ahead.catch(() => undefined);
      await pace?.spend(current.bytes?.length ?? 0);
      const { segment, bytes } = current;
      await mover.move(segment, bytes);
      onProgress?.({ done: current.segment.end, total });
    }
  } finally {
    // Nothing may be reading from the source when its owner closes it.
    await ahead.catch(() => undefined);
    await segments.return(undefined);
  }
  onProgress?.({ done: total, total });
}

/** Segments start and end at clusters of the target, so that no cluster is written twice. */
function copyUnit(target: Disk): number {
  return Math.min(segmentBytes, Math.max(512, target.image.clusterSize));
}

/** A segment and its contents; all-zero segments have none. */
interface LoadedSegment {
  readonly segment: Segment;
  readonly bytes: Uint8Array | undefined;
}

/** Reads segments, into two buffers in turn. */
class SegmentReader {
  private readonly source: CopySource;
  private readonly segments: AsyncGenerator<Segment>;
  private readonly words: CopyWords;
  private readonly buffers = [new Uint8Array(segmentBytes), new Uint8Array(segmentBytes)];

  constructor(source: CopySource, segments: AsyncGenerator<Segment>, words: CopyWords) {
    this.source = source;
    this.segments = segments;
    this.words = words;
  }

  async next(): Promise<LoadedSegment | undefined> {
    const result = await this.segments.next();
    if (result.done === true) return undefined;
    const segment = result.value;
    if (segment.pieces.length === 0) return { segment, bytes: undefined };
    this.buffers.reverse();
    const bytes = this.buffers[0]!.subarray(0, segment.end - segment.start);
    let filled = segment.start;
    for (const { start, end } of segment.pieces) {
      bytes.fill(0, filled - segment.start, start - segment.start);
      await inQemuWords(this.words("reading", start), () =>
        this.source.read(start, bytes.subarray(start - segment.start, end - segment.start)),
      );
      filled = end;
    }
    bytes.fill(0, filled - segment.start);
    return { segment, bytes };
  }
}

/** Carries segments to the target. */
class Mover {
  private readonly target: Disk;
  private readonly options: CopyOptions;
  private readonly sparse: number;
  private readonly zeros = new Uint8Array(segmentBytes);

  constructor(target: Disk, options: CopyOptions) {
    this.target = target;
    this.options = options;
    this.sparse = options.sparse ?? 4096;
  }

  async move(segment: Segment, bytes: Uint8Array | undefined): Promise<void> {
    const words = (this.options.words ?? noWords)("writing", segment.start);
    await inQemuWords(words, () => this.moveSegment(segment, bytes));
  }

  private async moveSegment(segment: Segment, bytes: Uint8Array | undefined): Promise<void> {
    if (bytes === undefined) return this.moveZeros(segment.start, segment.end);
    if (this.options.compress === true) return this.moveCompressed(segment.start, bytes);
    const { target } = this;
    // In an empty target whole subclusters are written: what surrounds the data in them is zeros.
    const widens = this.options.targetIsZero === true && this.options.topLayerOnly !== true;
    const unit = widens ? (target.image.subclusterSize ?? copyUnit(target)) : 1;
    let done = 0;
    for (const run of dataRuns(bytes, segment.start, this.sparse)) {
      const start = Math.max(done, alignDown(segment.start + run.start, unit) - segment.start);
      const end = Math.min(bytes.length, alignUp(segment.start + run.end, unit) - segment.start);
      await this.zeroRange(segment.start + done, segment.start + start);
      if (start < end) await this.write(segment.start + start, bytes.subarray(start, end));
      done = Math.max(done, end);
    }
    await this.zeroRange(segment.start + done, segment.end);
  }

  private async moveCompressed(at: number, bytes: Uint8Array): Promise<void> {
    const { clusterSize } = this.target.image;
    for (let from = 0; from < bytes.length; from += clusterSize) {
      throwIfAborted(this.options.signal);
      const cluster = bytes.subarray(from, Math.min(bytes.length, from + clusterSize));
      if (this.sparse > 0 && isZero(cluster)) {
        await this.zeroRange(at + from, at + from + cluster.length);
      } else if (cluster.length === clusterSize || at + bytes.length === this.target.size) {
        await this.target.writeCompressed(at + from, cluster);
        await this.writeThrough();
      } else {
        // The source ends inside a cluster of a larger target.
        await this.write(at + from, cluster);
      }
    }
  }

  /** Zeros of the plan; stored like data if everything is to be stored. */
  private async moveZeros(start: number, end: number): Promise<void> {
    if (this.sparse > 0) return this.zeroRange(start, end);
    for (let at = start; at < end;) {
      throwIfAborted(this.options.signal);
      const stop = Math.min(end, alignDown(at, segmentBytes) + segmentBytes);
      const zeros = this.zeros.subarray(0, stop - at);
      if (this.options.compress === true) await this.moveCompressed(at, zeros);
      else await this.write(at, zeros);
      at = stop;
    }
  }

  private async zeroRange(start: number, end: number): Promise<void> {
    if (start >= end || this.options.targetIsZero === true) return;
    await this.target.writeZeroes(start, end - start);
    await this.writeThrough();
  }

  private async write(at: number, bytes: Uint8Array): Promise<void> {
    await this.target.write(at, bytes);
    await this.writeThrough();
  }

  private async writeThrough(): Promise<void> {
    if (this.options.writethrough === true) await this.target.flush();
  }
}
