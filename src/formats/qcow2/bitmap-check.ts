import { readBitmapDirectory, tableBytes } from "./bitmap-directory.ts";
import { bitmapState } from "./bitmap-extension.ts";
import { invalidEntry, readBitmapTable, storedClusters } from "./bitmap-table.ts";
import { invalid } from "./invalid.ts";
import type { Metadata } from "./metadata.ts";

/**
 * Tells `refer` of everything in the file that belongs to bitmaps: directory, tables, bits. As QEMU,
 * gives the whole check up (`E_CORRUPT`) where a table breaks a rule: what it refers to cannot be told.
 */
export async function countBitmaps(
  { storage, header, geometry, diskSize }: Metadata,
  refer: (offset: number, length: number) => void,
): Promise<void> {
  const { extension } = bitmapState(header, storage.name);
  if (extension === undefined) return;
  refer(extension.offset, extension.size);
  const { clusterSize } = geometry;
  const entries = await readBitmapDirectory(storage, extension, { clusterSize, diskSize });
  for (const entry of entries) {
    refer(entry.tableOffset, tableBytes(entry));
    // QEMU takes for zeros what is past the end of the file.
    if (entry.tableOffset + tableBytes(entry) > storage.size) continue;
    const table = await readBitmapTable(storage, entry, clusterSize);
    const bad = table.indexOf(invalidEntry);
    if (bad >= 0) {
      throw invalid(storage.name, "E_CORRUPT", "Check failed: Invalid argument", {
        field: `bitmap table entry ${bad}`,
        offset: entry.tableOffset + bad * 8,
        advice: `the check ends here; remove the bitmap '${new TextDecoder().decode(entry.name)}'`,
      });
    }
    for (const offset of storedClusters(table)) refer(offset, clusterSize);
  }
}
