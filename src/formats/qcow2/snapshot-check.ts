import { divideUp, host } from "../../bytes/index.ts";
import type { CheckProblem } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Metadata, WritableMetadata } from "./metadata.ts";
import {
  encodeSnapshotTable,
  maxSnapshots,
  readSnapshotTable,
  type SnapshotTable,
} from "./snapshot-table.ts";

/** What a look at the table of snapshots came to. */
export interface SnapshotFindings {
  /** In QEMU's words. An error is one that is left; what is repaired is a note. */
  readonly problems: readonly CheckProblem[];
  /** Snapshots that are lost because nobody can read them. */
  readonly dropped: number;
  /** Entries that have to be written anew. */
  readonly mended: number;
}

/**
 * Reads the snapshot table for a check, and looks for entries that do not say what version 3 demands. With
 * `mends` everything that can be repaired counts as such: {@link rewriteSnapshotTable} has to follow. Throws
 * `E_LIMIT` and `E_CORRUPT`, as QEMU ends its check there, when the table cannot be read otherwise.
 */
export async function checkSnapshotTable(
  metadata: Metadata,
  mends: boolean,
): Promise<SnapshotFindings> {
  const { storage, header } = metadata;
  const problems: CheckProblem[] = [];
  let [dropped, mended] = [0, 0];
  const place = { hostOffset: Number(header.fields.snapshots_offset) };
  let table: SnapshotTable;
  try {
    table = await readSnapshotTable(storage, header, {
      discards: mends,
      discarded(count, what, message) {
        problems.push({ kind: "note", message, ...place });
        if (what === "snapshots") dropped += count;
        else mended += count;
      },
    });
  } catch (error) {
    throw inCheckWords(error, header.fields.nb_snapshots);
  }
  metadata.snapshots = table;
  if (header.fields.version >= 3) {
    for (const [i, { hasSize }] of table.entries.entries()) {
      if (hasSize) continue;
      const message = `${mends ? "Repairing" : "ERROR"} snapshot table entry ${i} is incomplete`;
      problems.push({ kind: mends ? "note" : "error", message, ...place });
      if (mends) mended++;
    }
  }
  return { problems, dropped, mended };
}

/** What QEMU says where its check ends with the snapshot table, and how to get on. */
function inCheckWords(error: unknown, count: number): unknown {
  if (!(error instanceof PlatterError)) return error;
  const { code, message, details } = error;
  if (code !== "E_LIMIT" && code !== "E_CORRUPT") return error;
  const [first = ""] = (details.qemu ?? "").split("\n");
  const isPointer = details.field === "snapshots_offset" || count > maxSnapshots;
  const what = isPointer
    ? `ERROR ${first.replace("Snapshot", "snapshot")}`
    : `ERROR failed to read the snapshot table: ${first}`;
  const hint =
    count > maxSnapshots
      ? `\nYou can force-remove all ${count - maxSnapshots} overhanging snapshots with qemu-img check -r all`
      : details.field === "extra_data_size"
        ? "\nYou can force-remove this extra metadata with qemu-img check -r all"
        : "";
  const why = code === "E_LIMIT" ? "File too large" : "Invalid argument";
  const qemu = `${what}${hint}\nqemu-img: Check failed: ${why}`;
  return new PlatterError(code, message, { ...details, qemu });
}

/** Has the header count no more snapshots than there are, before anything relies on it. */
export async function countSnapshotsAnew(metadata: WritableMetadata): Promise<void> {
  const { length } = metadata.snapshots.entries;
  await metadata.updateHeader({ nb_snapshots: length });
  await metadata.writeBack.barrier();
}

/**
 * Writes the snapshot table, as it has been read for a repair, to new clusters; one write of the header
 * goes over to it. The disk must be idle, and refcounts right. Returns whether the clusters of the old one
 * were counted, and so could be freed.
 */
export async function rewriteSnapshotTable(metadata: WritableMetadata): Promise<boolean> {
  const { allocator, geometry, overlap, snapshots, storage, writeBack } = metadata;
  const { clusterSize } = geometry;
  const bytes = encodeSnapshotTable(snapshots.entries);
  const entries = snapshots.entries.map((entry) => ({ ...entry, hasSize: true }));
  const offset =
    bytes.length === 0 ? host(0) : await allocator.allocate(divideUp(bytes.length, clusterSize));
  await overlap.prevent(offset, bytes.length);
  await writeBack.settle();
  if (bytes.length > 0) await storage.write(offset, bytes);
  await writeBack.barrier();
  await metadata.updateHeader({ nb_snapshots: entries.length, snapshots_offset: BigInt(offset) });
  await writeBack.barrier();
  metadata.snapshots = { entries, offset, size: bytes.length };
  const isCounted = await hasCounts(metadata, snapshots);
  if (isCounted) await writeBack.release({ ...snapshots, length: snapshots.size, punch: true });
  await writeBack.settle();
  return isCounted;
}

/** Whether a table can be let go of: it may have been where nothing is. */
async function hasCounts(
  { geometry: { clusterSize }, refcounts, storage }: WritableMetadata,
  { offset, size }: SnapshotTable,
): Promise<boolean> {
  if (offset >= storage.size) return false;
  const end = divideUp(offset + size, clusterSize);
  for (let index = Math.floor(offset / clusterSize); index < end; index++) {
    if ((await refcounts.count(index)) === 0) return false;
  }
  return true;
}
