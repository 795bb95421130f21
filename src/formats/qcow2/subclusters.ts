/**
 * The bitmap of an extended L2 entry (specification, "Extended L2 Entries"): the second half of the
 * entry, of which one 32-bit word says which subclusters are allocated in the host cluster and the
 * other which of them read as zeros. Bit n of a word is subcluster n. Masks are unsigned 32-bit numbers.
 *
 * A subcluster with neither bit is unallocated: the backing disk has it, even where the entry keeps a
 * place for it.
 */
import type { Corruption } from "./corruption.ts";
import { address } from "./invalid.ts";
import { hasCluster, isCompressed } from "./l2-table.ts";
import type { Table, TableCache } from "./tables.ts";

/** All subclusters of a cluster. */
export const allSubclusters = 0xffff_ffff;

/** Where the words are in an entry, in bytes. */
const zeroWord = 8;
const allocatedWord = 12;

/** The subclusters of entry `index` that read as zeros. */
export const zeroSubclusters = (table: Table, index: number): number =>
  table.view.getUint32(index * table.entrySize + zeroWord);

/** The subclusters of entry `index` that are data at their place in the host cluster. */
export const allocatedSubclusters = (table: Table, index: number): number =>
  table.view.getUint32(index * table.entrySize + allocatedWord);

/** Stores the bitmap of entry `index`. */
export function setSubclusters(
  cache: TableCache,
  table: Table,
  index: number,
  zeros: number,
  allocated: number,
): void {
  const at = index * table.entrySize;
  table.view.setUint32(at + zeroWord, zeros);
  table.view.setUint32(at + allocatedWord, allocated);
  cache.touch(table, at + zeroWord, at + table.entrySize);
}

/** The mask of the subclusters [from, to). */
export const subclusterMask = (from: number, to: number): number =>
  (lowest(to) & ~lowest(from)) >>> 0;

/** The mask of the first `count` subclusters. JavaScript shifts by the count modulo 32. */
const lowest = (count: number): number => (count >= 32 ? allSubclusters : (1 << count) - 1);

/** Number of the first subcluster in a mask; 32 for none. */
export const firstSubcluster = (mask: number): number =>
  mask === 0 ? 32 : 31 - Math.clz32(mask & -mask);

/** Number of the subcluster after the last one in a mask; 0 for none. */
export const endOfSubclusters = (mask: number): number => 32 - Math.clz32(mask);

/**
 * Whether the two words contradict each other, or the entry: data and zeros at once, or data in a cluster
 * without a place. Not for compressed clusters, of whose bitmap nobody takes notice.
 */
export const isInvalid = (hasPlace: boolean, zeros: number, allocated: number): boolean =>
  (hasPlace ? zeros & allocated : allocated) !== 0;

/** What QEMU says of an entry of which {@link isInvalid} holds; with one more space when it is read. */
export const invalidSubclusters = (table: Table, index: number, reading: boolean): string =>
  `Invalid cluster entry found ${reading ? " " : ""}` +
  `(L2 offset: ${address(table.offset)}, L2 index: ${address(index)})`;

/** Throws `E_CORRUPT` when one of `count` entries from `from` on is invalid. */
export async function refuseInvalid(
  corruption: Corruption,
  table: Table,
  from: number,
  count: number,
  external: boolean,
): Promise<void> {
  for (let index = from; index < from + count; index++) {
    if (isCompressed(table, index)) continue;
    const hasPlace = hasCluster(table, index, external);
    if (isInvalid(hasPlace, zeroSubclusters(table, index), allocatedSubclusters(table, index))) {
      throw await corruption.signal(invalidSubclusters(table, index, false), {
        field: "subcluster bitmap",
        offset: table.offset + index * table.entrySize + zeroWord,
      });
    }
  }
}
