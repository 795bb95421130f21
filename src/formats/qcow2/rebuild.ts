import { alignUp, divideUp, host } from "../../bytes/index.ts";
import type { CheckImageOptions } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import { Checker } from "./check.ts";
import { entrySize, maxRefcountTableBytes } from "./geometry.ts";
import type { WritableMetadata } from "./metadata.ts";
import { setRefcount } from "./refcount-block.ts";
import { encodeEntries } from "./write-back.ts";

/**
 * Makes all refcounts anew from what the image refers to. Table and blocks are written behind the end of
 * the file, where nothing can be relying on anything, and one write of the header switches to them; what
 * was there before is free then.
 */
export async function rebuildRefcounts(
  metadata: WritableMetadata,
  options: CheckImageOptions,
): Promise<void> {
  const { storage, geometry, refcounts, writeBack } = metadata;
  const { clusterSize, refcountsPerBlock, refcountOrder, maxRefcount } = geometry;
  const { references } = await contentsOf(metadata, options);
  // What is wrong may refer to clusters behind the end of the file.
  const first = Math.max(alignUp(storage.size, clusterSize) / clusterSize, references.end);
  // Which blocks there have to be: for what is referred to, and for the blocks and the table.
  const used: number[] = [];
  for (let entry = 0; entry * refcountsPerBlock < first; entry++) {
    if (hasReferences(references, entry * refcountsPerBlock, refcountsPerBlock)) used.push(entry);
  }
  let entries = used;
  let tableClusters = 0;
  let end = first;
  for (let last = -1; last !== end;) {
    last = end;
    const own = new Set(used);
    for (
      let entry = Math.floor(first / refcountsPerBlock);
      entry * refcountsPerBlock < end;
      entry++
    ) {
      own.add(entry);
    }
    entries = [...own].toSorted((a, b) => a - b);
    tableClusters = divideUp(((entries.at(-1) ?? 0) + 1) * entrySize, clusterSize);
    end = first + entries.length + tableClusters;
  }
  if (tableClusters * clusterSize > maxRefcountTableBytes) {
    throw new PlatterError(
      "E_LIMIT",
      `${storage.name}: the file is too long for refcounts of ${geometry.refcountBits} bits`,
      { file: storage.name, field: "refcount table", qemu: "File too large" },
    );
  }
  const table = new Float64Array((tableClusters * clusterSize) / entrySize);
  for (const [i, entry] of entries.entries()) {
    const bytes = new Uint8Array(clusterSize);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < refcountsPerBlock; at++) {
      const cluster = entry * refcountsPerBlock + at;
      const count = cluster >= first && cluster < end ? 1 : references.get(cluster);
      if (count > 0) setRefcount(view, at, refcountOrder, Math.min(count, maxRefcount));
    }
    const place = (first + i) * clusterSize;
    table[entry] = place;
    await storage.write(place, bytes);
  }
  const tableOffset = host((first + entries.length) * clusterSize);
  await storage.write(tableOffset, encodeEntries(table));
  await writeBack.barrier();
  await metadata.updateHeader({
    refcount_table_offset: BigInt(tableOffset),
    refcount_table_clusters: tableClusters,
  });
  refcounts.blocks.forget();
  refcounts.dirtyEntries.clear();
  refcounts.table = table;
  refcounts.tableOffset = tableOffset;
  await writeBack.barrier();
}

/** Counts what is referred to, but for the old refcounts. */
async function contentsOf(
  metadata: WritableMetadata,
  options: CheckImageOptions,
): Promise<Checker> {
  const checker = new Checker(metadata, options);
  await checker.countContents();
  return checker;
}

function hasReferences(references: Checker["references"], first: number, count: number): boolean {
  if (!references.mayHave(first, first + count)) return false;
  for (let at = first; at < first + count; at++) if (references.get(at) > 0) return true;
  return false;
}
