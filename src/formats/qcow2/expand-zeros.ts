import { host, lower, type HostOffset } from "../../bytes/index.ts";
import type { Progress } from "../../disk/index.ts";
import { copiedBit, lowerHalf, upperHalf } from "./entries.ts";
import type { L1Table } from "./l1-table.ts";
import { hostClusterOf, isZeroFlagged, setEntry } from "./l2-table.ts";
import type { WritableMetadata } from "./metadata.ts";
import { readSnapshotL1 } from "./snapshot-l1.ts";

/**
 * Turns clusters that are flagged as zeros, which version 2 does not know, into ones without a place, or
 * into data where something lies behind the image. In all L1 tables, where QEMU puts them. The disk must
 * be idle.
 */
export async function expandZeroClusters(
  metadata: WritableMetadata,
  onProgress?: (progress: Progress) => void,
): Promise<void> {
  const { l1, snapshots, storage, geometry, writeBack } = metadata;
  const tables = [l1];
  for (const snapshot of snapshots.entries) {
    tables.push(await readSnapshotL1(storage, geometry, snapshot));
  }
  const total = tables.reduce((sum, { length }) => sum + length, 0);
  let done = 0;
  for (const table of tables) {
    for (let i = 0; i < table.length; i++) {
      await expandTable(metadata, table, i);
      onProgress?.({ done: ++done, total });
    }
  }
  await writeBack.flush(false);
}

async function expandTable(
  metadata: WritableMetadata,
  l1: L1Table,
  l1Index: number,
): Promise<void> {
  const { geometry, l2, refcounts, header, allocator, writeBack } = metadata;
  const { clusterSize } = geometry;
  const offset = l1.l2Offset(l1Index);
  if (offset === 0) return;
  const owners = await refcounts.count(offset / clusterSize);
  const table = await l2.load(offset);
  for (let index = 0; index < geometry.l2Entries; index++) {
    if (!isZeroFlagged(table, index)) continue;
    let place = hostClusterOf(table, index);
    if (place === 0) {
      if (header.backingName === undefined) {
        setEntry(l2, table, index, 0, 0);
        continue;
      }
      place = await allocator.allocate(1);
      // All who have the table have the cluster.
      for (let i = 1; i < owners; i++) await allocator.retain(place, clusterSize);
    }
    await metadata.overlap.prevent(place, clusterSize);
    await writeZeros(metadata, place);
    // Of a table of one's own, a cluster may still be others', too.
    const isOwn = owners === 1 && (await refcounts.count(place / clusterSize)) === 1;
    const own = isOwn ? copiedBit : 0;
    setEntry(l2, table, index, upperHalf(place) + own, lowerHalf(place));
  }
  if (l2.crowded) await writeBack.flush(false);
}

async function writeZeros(
  { storage, geometry }: WritableMetadata,
  place: HostOffset,
): Promise<void> {
  const { clusterSize } = geometry;
  const inside = lower(host(place + clusterSize), host(storage.size)) === place + clusterSize;
  if (inside && (await storage.zero?.(place, clusterSize, { unmap: false })) === true) return;
  await storage.write(place, new Uint8Array(clusterSize));
}
