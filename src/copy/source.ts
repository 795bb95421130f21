import type { Bytes } from "../bytes/index.ts";
import type {
  Disk,
  Extent,
  ExtentOptions,
  Gatherer,
  GuestRange,
  Located,
  LocatedPiece,
} from "../disk/index.ts";

/** What can be copied: a disk, or several one after the other. */
export interface CopySource {
  readonly size: number;
  extents(options?: ExtentOptions): AsyncGenerator<Extent>;
  /**
   * Fills `into` with the bytes from `at` on, as far as `ranges` say, and hands it back, possibly as
   * another object.
   */
  gather(
    gatherer: Gatherer,
    ranges: readonly GuestRange[],
    at: number,
    into: Bytes,
  ): Promise<Bytes>;
  /** See {@link Gatherer.locate}. Absent: nobody can tell. */
  locate?(gatherer: Gatherer, ranges: readonly GuestRange[]): Promise<Located | undefined>;
}

/** One disk. */
export const fromDisk = (disk: Disk): CopySource => ({
  size: disk.size,
  extents: (options) => disk.extents(options),
  gather: (gatherer, ranges, at, into) => gatherer.gather(disk, ranges, at, into),
  locate: (gatherer, ranges) => gatherer.locate(disk, ranges),
});

/** The disks one after the other, as one. Offsets of extents are in the whole. */
export function concatenate(disks: readonly Disk[]): CopySource {
  const [only] = disks;
  if (disks.length === 1 && only !== undefined) return fromDisk(only);
  let size = 0;
  const parts = disks.map((disk) => {
    const start = size;
    size += disk.size;
    return { disk, start, end: size };
  });
  return {
    size,
    async *extents({ start = 0, end = size, ...options } = {}) {
      for (const part of parts) {
        const from = Math.max(start, part.start);
        const to = Math.min(end, part.end);
        if (from >= to) continue;
        const range = { ...options, start: from - part.start, end: to - part.start };
        for await (const extent of part.disk.extents(range)) {
          yield { ...extent, start: extent.start + part.start };
        }
      }
    },
    async gather(gatherer, ranges, at, into) {
      let filled = into;
      for (const { disk, start, end } of parts) {
        const inside = within(ranges, start, end);
        // `at` may lie before the disk: its bytes start further on in the buffer then.
        if (inside.length > 0) filled = await gatherer.gather(disk, inside, at - start, filled);
      }
      return filled;
    },
    async locate(gatherer, ranges) {
      const found: Located[] = [];
      const pieces: LocatedPiece[] = [];
      const release = (): void => found.forEach((located) => located.release());
      try {
        for (const { disk, start, end } of parts) {
          const inside = within(ranges, start, end);
          if (inside.length === 0) continue;
          const located = await gatherer.locate(disk, inside);
          if (located === undefined) {
            release();
            return undefined;
          }
          found.push(located);
          for (const { at, length, disk: own, offset } of located.pieces) {
            pieces.push({ at: at + start, length, disk: own, offset });
          }
        }
      } catch (error) {
        release();
        throw error;
      }
      return { pieces, release };
    },
  };
}

/** What of `ranges` lies in [start, end), counted from `start`. */
const within = (ranges: readonly GuestRange[], start: number, end: number): GuestRange[] =>
  ranges
    .map((range) => ({
      start: Math.max(range.start, start) - start,
      end: Math.min(range.end, end) - start,
    }))
    .filter((range) => range.start < range.end);
