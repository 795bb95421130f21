import type { Storage } from "../../storage/index.ts";
import { entrySize, maxL1Bytes, type Geometry } from "./geometry.ts";
import { invalid } from "./invalid.ts";
import { L1Table } from "./l1-table.ts";
import { readFully } from "./read.ts";
import type { Snapshot } from "./snapshot-table.ts";

/** Reads the L1 table of a snapshot. Throws `E_LIMIT`, `E_CORRUPT` and `E_TRUNCATED`. */
export async function readSnapshotL1(
  storage: Storage,
  { clusterSize }: Geometry,
  { id, l1Offset, l1Size }: Pick<Snapshot, "id" | "l1Offset" | "l1Size">,
): Promise<L1Table> {
  const { name: file } = storage;
  if (l1Size * entrySize > maxL1Bytes) {
    throw invalid(file, "E_LIMIT", "Snapshot L1 table too large", {
      field: `l1_size of snapshot ${id}`,
      value: l1Size,
    });
  }
  if (l1Offset % clusterSize !== 0 || l1Offset > Number.MAX_SAFE_INTEGER - maxL1Bytes) {
    throw invalid(file, "E_CORRUPT", "Snapshot L1 table offset invalid", {
      field: `l1_table_offset of snapshot ${id}`,
      value: l1Offset,
    });
  }
  const bytes = new Uint8Array(l1Size * entrySize);
  await readFully(storage, l1Offset, bytes, `L1 table of snapshot ${id}`);
  return new L1Table(l1Offset, bytes);
}
