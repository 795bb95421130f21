import { host, type HostOffset } from "../../bytes/index.ts";
import { compressedBit, copiedBit, hostOffset } from "./entries.ts";
import { address } from "./invalid.ts";
import type { L1Table } from "./l1-table.ts";
import { lowerOf, referenced, upperOf } from "./l2-table.ts";
import type { WritableMetadata } from "./metadata.ts";
import type { Table } from "./tables.ts";

/** Receives clusters that have lost a reference. */
export type Dropped = (offset: HostOffset, length: number) => void;

/**
 * Adds a reference to everything that an L1 table refers to, L2 tables and what is behind them, or takes
 * one away. Counts change in memory only. Throws `E_CORRUPT` where something cannot be counted.
 */
export async function countTree(
  metadata: WritableMetadata,
  l1: L1Table,
  by: 1 | -1,
  dropped: Dropped = () => undefined,
): Promise<void> {
  const { geometry, l2, allocator } = metadata;
  const { clusterSize } = geometry;
  const count = async (offset: HostOffset, length: number): Promise<void> => {
    if (by > 0) return allocator.retain(offset, length);
    await allocator.release(offset, length);
    dropped(offset, length);
  };
  for (let i = 0; i < l1.length; i++) {
    const tableOffset = l1.l2Offset(i);
    if (tableOffset === 0) continue;
    const table = await metadata.loadL2(tableOffset, i);
    let start = 0;
    let length = 0;
    for (let index = 0; index < geometry.l2Entries; index++) {
      const range = referenced(table, index, geometry);
      if (range === undefined) continue;
      const isPacked = (upperOf(table, index) & compressedBit) !== 0;
      if (!isPacked && range.offset % clusterSize !== 0) {
        throw await unaligned(metadata, table, index);
      }
      // Clusters in a row are counted in one go. A packed one counts by itself.
      if (!isPacked && length > 0 && start + length === range.offset) {
        length += range.length;
        continue;
      }
      if (length > 0) await count(host(start), length);
      length = 0;
      if (isPacked) await count(range.offset, range.length);
      else [start, length] = [range.offset, range.length];
    }
    if (length > 0) await count(host(start), length);
    await count(tableOffset, clusterSize);
    if (by < 0) l2.drop(tableOffset);
  }
}

function unaligned({ corruption }: WritableMetadata, table: Table, index: number): Promise<Error> {
  const offset = hostOffset(upperOf(table, index), lowerOf(table, index));
  return corruption.signal(
    `Cluster allocation offset ${address(offset)} unaligned ` +
      `(L2 offset: ${address(table.offset)}, L2 index: ${address(index)})`,
    { field: "L2 entry", offset: table.offset + index * table.entrySize },
  );
}

/**
 * The bytes of an L2 table with its "copied" flags as the refcounts have it: set where a plain cluster is
 * referred to once. Undefined when they are right already.
 */
export async function withRightFlags(
  { geometry, refcounts }: WritableMetadata,
  table: Table,
): Promise<Uint8Array | undefined> {
  let bytes: Uint8Array | undefined;
  for (let index = 0; index < geometry.l2Entries; index++) {
    const upper = upperOf(table, index);
    const place = hostOffset(upper, lowerOf(table, index));
    const isPlain = (upper & compressedBit) === 0 && place !== 0;
    const cluster = place / geometry.clusterSize;
    const owned =
      isPlain && (refcounts.cachedCount(cluster) ?? (await refcounts.count(cluster))) === 1;
    if (owned === ((upper & copiedBit) !== 0)) continue;
    bytes ??= table.bytes.slice();
    bytes[index * table.entrySize]! ^= copiedBit >>> 24;
  }
  return bytes;
}

/** Points the flags of L1 entries at whether their tables are referred to once. */
export async function setRightFlags(
  { refcounts, geometry }: WritableMetadata,
  l1: L1Table,
): Promise<void> {
  for (let i = 0; i < l1.length; i++) {
    const offset = l1.l2Offset(i);
    if (offset === 0) continue;
    const cluster = offset / geometry.clusterSize;
    if ((refcounts.cachedCount(cluster) ?? (await refcounts.count(cluster))) === 1)
      l1.set(i, offset);
    else l1.share(i);
  }
}
