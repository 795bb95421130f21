import { findSnapshot, type SnapshotReference } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import { entrySize } from "./geometry.ts";
import { invalid } from "./invalid.ts";
import { L1Table } from "./l1-table.ts";
import type { Metadata } from "./metadata.ts";
import { readSnapshotL1 } from "./snapshot-l1.ts";

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
    const value = typeof reference === "string" ? reference : (reference.name ?? reference.id);
    throw new PlatterError(
      "E_SNAPSHOT_NOT_FOUND",
      `${storage.name}: there is no snapshot "${value}"; "snapshot -l" lists those that there are`,
      { file: storage.name, value, qemu: "Failed to load snapshot: Can't find snapshot" },
    );
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
