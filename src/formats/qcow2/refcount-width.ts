import { alignUp, host, type HostOffset } from "../../bytes/index.ts";
import type { Progress } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import { entrySize, maxRefcountTableBytes } from "./geometry.ts";
import { invalid } from "./invalid.ts";
import type { WritableMetadata } from "./metadata.ts";
import { getRefcount, setRefcount } from "./refcount-block.ts";
import { encodeEntries } from "./write-back.ts";

/**
 * Changes the width of refcounts to `2 ** order` bits. A new refcount table and its blocks are written
 * beside the old ones, where QEMU puts them, and one write of the header switches to them. The disk must
 * be idle.
 *
 * Throws `E_INVALID_ARGUMENT` when a refcount does not fit, before anything has been changed.
 */
export async function changeRefcountWidth(
  metadata: WritableMetadata,
  order: number,
  onProgress?: (progress: Progress) => void,
): Promise<void> {
  const { refcounts, geometry, storage, allocator, writeBack, overlap } = metadata;
  const { clusterSize } = geometry;
  const oldOrder = geometry.refcountOrder;
  if (order === oldOrder) return;
  const perBlock = (clusterSize * 8) / 2 ** order;
  await refuseTooLarge(metadata, order);
  await writeBack.flush(false);

  // Each new place has to be counted itself, which may take another block: until nothing is missing.
  let table = new Float64Array(0);
  let offset: HostOffset | undefined;
  for (;;) {
    const grown = await allocateBlocks(metadata, table, perBlock);
    if (grown === undefined) break;
    if (offset !== undefined) await allocator.release(offset, table.length * entrySize);
    table = grown;
    offset = await allocator.allocate(Math.ceil((table.length * entrySize) / clusterSize));
  }
  if (offset === undefined) {
    throw invalid(storage.name, "E_CORRUPT", "There are no refcounts to change", {
      field: "refcount table",
      offset: refcounts.tableOffset,
      advice: "repair the image first",
    });
  }

  await writeBack.writeCounts();
  const total = table.length;
  for (let index = 0; index < total; index++) {
    if (table[index] === 0) continue;
    onProgress?.({ done: index, total });
    const bytes = new Uint8Array(clusterSize);
    const view = new DataView(bytes.buffer);
    await eachCount(metadata, index * perBlock, perBlock, (cluster, count) => {
      setRefcount(view, cluster - index * perBlock, order, count);
    });
    await overlap.prevent(table[index]!, clusterSize);
    await storage.write(table[index]!, bytes);
  }
  await overlap.prevent(offset, table.length * entrySize);
  await storage.write(offset, encodeEntries(table));
  await writeBack.barrier();
  const old = refcounts.table;
  const oldOffset = refcounts.tableOffset;
  metadata.abandoned = true;
  await metadata.rewriteHeader({
    refcount_order: order,
    refcount_table_offset: BigInt(offset),
    refcount_table_clusters: (table.length * entrySize) / clusterSize,
  });
  refcounts.blocks.forget();
  refcounts.table = table;
  refcounts.tableOffset = offset;
  geometry.setRefcountOrder(order);
  metadata.abandoned = false;
  await writeBack.barrier();
  for (const block of old) {
    if (block !== 0) await allocator.release(host(block), clusterSize);
  }
  await allocator.release(oldOffset, old.length * entrySize);
  await writeBack.writeCounts();
  onProgress?.({ done: 1, total: 1 });
}

/**
 * Allocates the blocks of the new width that have something to count and are not in `table` yet. The
 * larger table with all of them, or undefined when there was nothing to add.
 */
async function allocateBlocks(
  metadata: WritableMetadata,
  table: Float64Array<ArrayBuffer>,
  perBlock: number,
): Promise<Float64Array<ArrayBuffer> | undefined> {
  const { refcounts, geometry, allocator, storage } = metadata;
  let grown = table;
  let changed = false;
  // Blocks that are added behind what has been looked at count in this very round, as in QEMU.
  for (let index = 0; ; index++) {
    const entry = Math.floor((index * perBlock) / geometry.refcountsPerBlock);
    const used = nextUsed(refcounts.table, entry);
    if (used === undefined) break;
    // Where there is no block, nothing is counted.
    if (used > entry) {
      index = Math.max(index, Math.floor((used * geometry.refcountsPerBlock) / perBlock));
    }
    if (index < grown.length && grown[index] !== 0) continue;
    if (!(await hasCounts(metadata, index * perBlock, perBlock))) continue;
    if (index >= grown.length) {
      const length = alignUp(index + 1, geometry.clusterSize / entrySize);
      if (length * entrySize > maxRefcountTableBytes) {
        throw new PlatterError(
          "E_LIMIT",
          `${storage.name}: the refcount table would become larger than ${maxRefcountTableBytes} bytes`,
          {
            file: storage.name,
            field: "refcount_bits",
            qemu:
              "This operation would make the refcount table grow beyond the maximum size supported " +
              "by QEMU, aborting",
          },
        );
      }
      const larger = new Float64Array(length);
      larger.set(grown);
      grown = larger;
    }
    grown[index] = await allocator.allocate(1);
    changed = true;
  }
  return changed ? grown : undefined;
}

/** The first entry of a refcount table from `entry` on that is in use. */
function nextUsed(table: Float64Array, entry: number): number | undefined {
  for (let i = entry; i < table.length; i++) if (table[i] !== 0) return i;
  return undefined;
}

/** Whether one of `count` clusters from `first` on has a refcount. */
async function hasCounts(
  metadata: WritableMetadata,
  first: number,
  count: number,
): Promise<boolean> {
  let found = false;
  await eachCount(metadata, first, count, () => {
    found = true;
  });
  return found;
}

/** Tells `visit` of the clusters from `first` on that have a refcount. */
async function eachCount(
  { refcounts, geometry }: WritableMetadata,
  first: number,
  count: number,
  visit: (cluster: number, refcount: number) => void,
): Promise<void> {
  const { refcountsPerBlock, refcountOrder } = geometry;
  for (let cluster = first; cluster < first + count;) {
    const entry = Math.floor(cluster / refcountsPerBlock);
    const end = Math.min(first + count, (entry + 1) * refcountsPerBlock);
    const block = await refcounts.block(cluster);
    if (block !== undefined) {
      for (let at = cluster; at < end; at++) {
        const refcount = getRefcount(block.view, at - entry * refcountsPerBlock, refcountOrder);
        if (refcount > 0) visit(at, refcount);
      }
    }
    cluster = end;
  }
}

/** Refcounts that do not fit the new width are found before anything is changed. */
async function refuseTooLarge(metadata: WritableMetadata, order: number): Promise<void> {
  const { refcounts, geometry, storage } = metadata;
  const { refcountsPerBlock, clusterSize } = geometry;
  const bits = 2 ** order;
  if (bits >= geometry.refcountBits) return;
  const clusters = refcounts.table.length * refcountsPerBlock;
  await eachCount(metadata, 0, clusters, (cluster, count) => {
    if (count < 2 ** bits) return;
    const offset = cluster * clusterSize;
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${storage.name}: refcounts of ${bits} bits are too narrow: the cluster at ${offset} has ${count} ` +
        `references`,
      {
        file: storage.name,
        field: "refcount_bits",
        offset,
        value: count,
        qemu:
          `Cannot decrease refcount entry width to ${bits} bits: Cluster at offset ` +
          `0x${offset.toString(16)} has a refcount of ${count}`,
      },
    );
  });
}
