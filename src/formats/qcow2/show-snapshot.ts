import { findSnapshot, type SnapshotReference } from "../../disk/index.ts";
import { entrySize } from "./geometry.ts";
import { invalid } from "./invalid.ts";
import { L1Table } from "./l1-table.ts";
import type { Metadata } from "./metadata.ts";
import { readSnapshotL1 } from "./snapshot-l1.ts";
import { snapshotNotFound } from "./snapshot-not-found.ts";

/**
 * Has an image that is open for reading show what a snapshot keeps: its tables, and the size that the disk
 * had. Throws `E_SNAPSHOT_NOT_FOUND`, and what reading the snapshot's L1 table throws.
 */
export async function showSnapshot(
  metadata: Metadata,
  reference: SnapshotReference,
): Promise<void> {
  const { storage, geometry, snapshots, header } = metadata;
  const snapshot = findSnapshot(snapshots.entries, reference);
  if (snapshot === undefined) {
    const qemu = "Failed to load snapshot: Can't find snapshot";
    throw snapshotNotFound(storage.name, reference, qemu);
  }
  const { diskSize } = snapshot;
  const l1 = await readSnapshotL1(storage, geometry, snapshot);
  const needed = geometry.l1Entries(diskSize);
  if (diskSize % 512 !== 0 || needed > l1.length + 2 ** 22) {
    throw invalid(storage.name, "E_CORRUPT", "Snapshot size is not possible", {
      field: `disk_size of snapshot ${snapshot.id}`,
      value: diskSize,
    });
  }
  // One that was taken of a smaller disk may say that the disk was larger: nothing is there.
  const bytes = new Uint8Array(Math.max(l1.bytes.length, needed * entrySize));
  bytes.set(l1.bytes);
  metadata.l1 = new L1Table(l1.offset, bytes);
  header.fields.size = BigInt(diskSize);
}
