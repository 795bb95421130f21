import { isZero, wideRuns } from "../bytes/index.ts";
import type { Disk } from "../disk/index.ts";
import type { CopyOptions } from "./copy.ts";
import type { LoadedSegment, PackedSegment } from "./loader.ts";
import type { Range } from "./plan.ts";
import type { WriteWindow } from "./write-window.ts";

/** Carries loaded segments to the target, in guest order. */
export class Mover {
  private readonly target: Disk;
  private readonly window: WriteWindow;
  private readonly options: CopyOptions;
  private readonly sparse: number;
  /** What is stored starts and ends at multiples of this. */
  readonly unit: number;

  /** `unit`: what of an empty target is written as a whole, in bytes. */
  constructor(target: Disk, window: WriteWindow, unit: number, options: CopyOptions) {
    this.target = target;
    this.window = window;
    this.options = options;
    this.sparse = options.sparse ?? 4096;
    // In an empty target whole subclusters are written: what surrounds the data in them is zeros.
    const widens = options.targetIsZero === true && options.topLayerOnly !== true;
    this.unit = widens ? (target.image.subclusterSize ?? unit) : 1;
  }

  /** Begins to write a segment. Its buffers are in use until the window says that it is done. */
  async move({ segment, bytes, packed }: LoadedSegment): Promise<void> {
    const { start, end } = segment;
    if (bytes === undefined) return this.zeroRange(start, end);
    if (this.options.compress === true) return this.movePacked(segment, bytes, packed);
    return this.movePlain(start, bytes.subarray(0, end - start));
  }

  /** Shares a segment with the source; false, having made nothing visible of what follows, where that fails. */
  async share({ segment, located }: LoadedSegment): Promise<boolean> {
    let done: number = segment.start;
    for (const { at, length, disk, offset } of located!.pieces) {
      await this.zeroRange(done, at);
      if (!(await this.window.share(at, length, disk.data.storage, offset))) return false;
      done = at + length;
    }
    await this.zeroRange(done, segment.end);
    await this.writeThrough();
    return true;
  }

  private async movePlain(at: number, bytes: Uint8Array): Promise<void> {
    let done = 0;
    for (const { start, end } of wideRuns(bytes, at, this.sparse, this.unit)) {
      await this.zeroRange(at + done, at + start);
      await this.write(at + start, bytes.subarray(start, end));
      done = end;
    }
    await this.zeroRange(at + done, at + bytes.length);
  }

  /** Clusters in a row that got smaller are written together; the others plainly. */
  private async movePacked(
    { start, end }: Range,
    bytes: Uint8Array,
    packed: PackedSegment | undefined,
  ): Promise<void> {
    const { clusterSize } = this.target.image;
    const row: { at: number[]; lengths: number[] } = { at: [], lengths: [] };
    let next = 0;
    let from = 0;
    let to = 0;
    const writeRow = async (): Promise<void> => {
      if (row.at.length > 0) {
        await this.window.writePacked(row.at, row.lengths, packed!.room.subarray(from, to));
      }
      row.at = [];
      row.lengths = [];
      from = to;
    };
    for (let at = start; at < end; at += clusterSize) {
      const length = packed?.at[next] === at ? packed.lengths[next++]! : -1;
      if (length > 0) {
        row.at.push(at);
        row.lengths.push(length);
        to += length;
        continue;
      }
      await writeRow();
      const stop = Math.min(end, at + clusterSize);
      const cluster = bytes.subarray(at - start, stop - start);
      // What was not compressed is zeros, or the source's end inside a cluster of a larger target.
      if (length < 0 && this.sparse > 0 && isZero(cluster)) await this.zeroRange(at, stop);
      else await this.write(at, cluster);
    }
    await writeRow();
    await this.writeThrough();
  }

  private async zeroRange(start: number, end: number): Promise<void> {
    if (start >= end || this.options.targetIsZero === true) return;
    await this.window.writeZeroes(start, end - start);
    await this.writeThrough();
  }

  private async write(at: number, bytes: Uint8Array): Promise<void> {
    await this.window.write(at, bytes);
    await this.writeThrough();
  }

  private async writeThrough(): Promise<void> {
    if (this.options.writethrough === true) await this.window.flush();
  }
}
