import { alignDown, host, type HostOffset } from "../../bytes/index.ts";
import {
  compressedBit,
  copiedBit,
  decodeCompressed,
  hostOffset,
  lowerHalf,
  upperHalf,
  zeroBit,
} from "./entries.ts";
import { entrySize, type Geometry } from "./geometry.ts";
import type { Table, TableCache } from "./tables.ts";

/** The upper 32 bits of L2 entry `index`. */
export const upperOf = (table: Table, index: number): number =>
  table.view.getUint32(index * table.entrySize);

/** The lower 32 bits of L2 entry `index`. */
export const lowerOf = (table: Table, index: number): number =>
  table.view.getUint32(index * table.entrySize + 4);

/**
 * How many of the `most` standard entries from `index` on have the flags of the one before them, and an
 * offset that is `step` bytes larger each time.
 */
export function alike({ view }: Table, index: number, most: number, step: number): number {
  const first = (index - 1) * entrySize;
  const upper = view.getUint32(first);
  let lower = view.getUint32(first + 4);
  let count = 0;
  for (let at = first + entrySize; count < most; at += entrySize) {
    // Past 32 bits it is never equal, and the next stretch begins.
    lower += step;
    if (view.getUint32(at + 4) !== lower || view.getUint32(at) !== upper) break;
    count++;
  }
  return count;
}

/** Offset of the host cluster that a standard entry names; 0 for none or a compressed one. */
export function hostClusterOf(table: Table, index: number): HostOffset {
  const upper = upperOf(table, index);
  return (upper & compressedBit) === 0 ? hostOffset(upper, lowerOf(table, index)) : host(0);
}

/** Whether the entry is a compressed cluster. */
export const isCompressed = (table: Table, index: number): boolean =>
  (upperOf(table, index) & compressedBit) !== 0;

/** Whether the entry reads as zeros by its zero flag, which extended entries do not have. */
export const isZeroFlagged = (table: Table, index: number): boolean =>
  table.entrySize === entrySize &&
  !isCompressed(table, index) &&
  (lowerOf(table, index) & zeroBit) !== 0;

/**
 * Whether the entry has a host cluster, be it flagged as zero. With an external data file the cluster
 * at offset 0 is one like others; the copied flag tells it from none (specification, "Cluster
 * mapping"), unless it is flagged as zero.
 */
export const hasCluster = (table: Table, index: number, external: boolean): boolean =>
  hostClusterOf(table, index) !== 0 ||
  (external &&
    (upperOf(table, index) & (copiedBit | compressedBit)) >>> 0 === copiedBit &&
    !isZeroFlagged(table, index));

/** Whether the entry has a host cluster of its own, which may be overwritten. */
export const isOwned = (table: Table, index: number, external: boolean): boolean =>
  (upperOf(table, index) & copiedBit) !== 0 && hasCluster(table, index, external);

/** Stores an entry; the bitmap of an extended one stays as it is (see `subclusters.ts`). */
export function setEntry(
  cache: TableCache,
  table: Table,
  index: number,
  upper: number,
  lower: number,
): void {
  const at = index * table.entrySize;
  table.view.setUint32(at, upper);
  table.view.setUint32(at + 4, lower);
  cache.touch(table, at, at + 8);
}

/** Points an entry at a host cluster of its own. */
export function setOwned(cache: TableCache, table: Table, index: number, place: HostOffset): void {
  setEntry(cache, table, index, upperHalf(place) + copiedBit, lowerHalf(place));
}

/** The bytes of the storage that an entry refers to, if any. */
export function referenced(
  table: Table,
  index: number,
  geometry: Geometry,
): { readonly offset: HostOffset; readonly length: number } | undefined {
  const upper = upperOf(table, index);
  const lower = lowerOf(table, index);
  if ((upper & compressedBit) !== 0) {
    const { offset, length } = decodeCompressed(upper, lower, geometry.clusterBits);
    // The refcount belongs to whole sectors.
    const start = alignDown(offset, 512);
    return { offset: start, length: offset + length - start };
  }
  const offset = hostOffset(upper, lower);
  return offset === 0 ? undefined : { offset, length: geometry.clusterSize };
}
