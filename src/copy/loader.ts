import { isZero, type Buffers, type Bytes } from "../bytes/index.ts";
import type { CodecPool, CompressionType } from "../codec/index.ts";
import type { Gatherer, Located } from "../disk/index.ts";
import type { Segment } from "./plan.ts";
import type { Sharing } from "./sharing.ts";
import type { CopySource } from "./source.ts";

/** A segment and its contents. */
export interface LoadedSegment {
  readonly segment: Segment;
  /** The bytes of the segment, at the start of a buffer; absent: all zeros. */
  readonly bytes: Bytes | undefined;
  /** What became of compressing it. */
  readonly packed: PackedSegment | undefined;
  /** Where the bytes lie, instead of the bytes, if they are to be shared. */
  readonly located?: Located | undefined;
}

/** The clusters of a segment that get smaller when compressed. */
export interface PackedSegment {
  /** Guest offsets of the clusters that are not all zeros and were to be compressed. */
  readonly at: readonly number[];
  /** Packed bytes of each; 0 for one that does not get smaller. */
  readonly lengths: readonly number[];
  /** The packed clusters, one after the other. */
  readonly room: Bytes;
}

/** How segments are compressed. */
export interface Packing {
  readonly type: CompressionType;
  readonly level: number | undefined;
  readonly clusterSize: number;
  /** Size of the target in bytes: a cluster that it ends in can be compressed, too. */
  readonly targetSize: number;
}

/** How segments are loaded. */
export interface Loading {
  /** Length of the buffers: a whole number of clusters, as long as the longest segment. */
  readonly bufferBytes: number;
  /** Zeros are stored like other data. */
  readonly zeros: boolean;
  /** Absent: nothing is compressed. */
  readonly packing: Packing | undefined;
  readonly sharing: Sharing;
}

/** Reads the contents of segments, several at a time, and compresses them. */
export class Loader {
  private readonly source: CopySource;
  private readonly gatherer: Gatherer;
  private readonly pool: CodecPool;
  private readonly buffers: Buffers;
  private readonly loading: Loading;

  constructor(
    source: CopySource,
    gatherer: Gatherer,
    pool: CodecPool,
    buffers: Buffers,
    loading: Loading,
  ) {
    this.source = source;
    this.gatherer = gatherer;
    this.pool = pool;
    this.buffers = buffers;
    this.loading = loading;
  }

  async load(segment: Segment): Promise<LoadedSegment> {
    const { sharing, zeros } = this.loading;
    if (segment.pieces.length === 0 && !zeros) {
      return { segment, bytes: undefined, packed: undefined };
    }
    if (sharing.isWanted) {
      const located = await this.source.locate?.(this.gatherer, segment.pieces);
      if (located !== undefined && sharing.fits(located, this.source.size)) {
        return { segment, bytes: undefined, packed: undefined, located };
      }
      located?.release();
      sharing.copies(segment);
    }
    return this.read(segment);
  }

  /** As {@link Loader.load}, and nothing is shared. */
  async read(segment: Segment): Promise<LoadedSegment> {
    const { start, end, pieces } = segment;
    const { packing, bufferBytes } = this.loading;
    const buffer = this.buffers.take(bufferBytes);
    let filled = start;
    for (const piece of pieces) {
      buffer.fill(0, filled - start, piece.start - start);
      filled = piece.end;
    }
    buffer.fill(0, filled - start, end - start);
    const bytes = await this.source.gather(this.gatherer, pieces, start, buffer);
    if (packing === undefined) return { segment, bytes, packed: undefined };
    return this.pack(segment, bytes, packing);
  }

  /** Gives the buffers of a segment back. */
  done({ bytes, packed, located }: LoadedSegment): void {
    located?.release();
    if (bytes !== undefined) this.buffers.give(bytes);
    if (packed !== undefined) this.buffers.give(packed.room);
  }

  private async pack(segment: Segment, bytes: Bytes, packing: Packing): Promise<LoadedSegment> {
    const { start, end } = segment;
    const { clusterSize, type, level } = packing;
    const clusters: number[] = [];
    for (let at = start; at < end; at += clusterSize) {
      const from = at - start;
      const stop = Math.min(end, at + clusterSize);
      const isWhole = stop - at === clusterSize || stop === packing.targetSize;
      if (!isWhole) continue;
      if (!this.loading.zeros && isZero(bytes, from, stop - start)) continue;
      bytes.fill(0, stop - start, from + clusterSize);
      clusters.push(from);
    }
    if (clusters.length === 0) return { segment, bytes, packed: undefined };
    const room = this.buffers.take(clusters.length * clusterSize);
    const job = { type, level, clusterSize, data: bytes, clusters, room };
    const done = await this.pool.pack(job);
    const at = clusters.map((from) => start + from);
    const packed = { at, lengths: done.lengths, room: done.room };
    return { segment, bytes: done.data, packed };
  }
}
