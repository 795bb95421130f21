import { alignUp, divideUp, host, type HostOffset } from "../../bytes/index.ts";
import { entrySize } from "./geometry.ts";
import type { HeaderFields } from "./header.ts";
import { L1Table } from "./l1-table.ts";
import type { WritableMetadata } from "./metadata.ts";
import { anyL2, section } from "./overlap.ts";
import { setRefcount } from "./refcount-block.ts";
import { encodeEntries } from "./write-back.ts";

/**
 * A change of L2 tables and refcounts that no order of writes in place would survive: flags and counts
 * in many clusters have to change at once.
 *
 * Everything that changes is written once more behind the end of the image, with tables of its own, and
 * one write of the header makes that the image. Then what is in place changes, which nothing relies on
 * meanwhile, and a second write of the header returns to it. The file ends up as if it had been changed in
 * place; a crash on the way leaves an image before or after the change, with leaks at worst.
 *
 * The changed refcounts are those that are dirty in memory; nothing else may be. L2 tables are added with
 * {@link Switchover.stage}. The disk must be idle.
 */
export class Switchover {
  private readonly metadata: WritableMetadata;
  /** Where L2 tables are, and where their new contents have been put: pairs. */
  private readonly tables: Array<readonly [place: HostOffset, aside: HostOffset]> = [];
  private readonly start: HostOffset;
  private next: HostOffset;
  private readonly oldSize: number;
  /** What has been prepared: the new L1 table, and what the header has to say meanwhile. */
  private aside: { readonly l1: L1Table; readonly header: Partial<HeaderFields> } | undefined;

  private constructor(metadata: WritableMetadata, start: HostOffset) {
    this.metadata = metadata;
    this.start = start;
    this.next = start;
    this.oldSize = metadata.storage.size;
  }

  static async begin(metadata: WritableMetadata): Promise<Switchover> {
    const { clusterSize } = metadata.geometry;
    const end = (await usedClusters(metadata)) * clusterSize;
    const fileEnd = metadata.storage.truncate === undefined ? 0 : metadata.storage.size;
    return new Switchover(metadata, host(alignUp(Math.max(end, fileEnd), clusterSize)));
  }

  /** Has the L2 table at `place` become `bytes`. */
  async stage(place: HostOffset, bytes: Uint8Array): Promise<void> {
    await this.metadata.overlap.prevent(place, bytes.length, anyL2);
    this.tables.push([place, await this.put(bytes)]);
  }

  /** Writes `bytes` behind everything else. */
  private async put(bytes: Uint8Array): Promise<HostOffset> {
    const { storage, geometry } = this.metadata;
    const offset = this.next;
    await this.metadata.overlap.prevent(offset, bytes.length);
    await storage.write(offset, bytes);
    this.next = host(offset + alignUp(bytes.length, geometry.clusterSize));
    return offset;
  }

  /** Gives up before {@link Switchover.commit}: the file is as it was. */
  async cancel(): Promise<void> {
    await this.metadata.storage.truncate?.(this.oldSize);
  }

  /**
   * Puts everything that the change needs on stable storage; nothing points there yet. `l1` is to become
   * the active L1 table, where the present one is and as long as that. When it rejects, the change can
   * still be given up.
   */
  async prepare(l1: L1Table): Promise<void> {
    this.aside = { l1, header: await this.putTables(l1) };
    await this.metadata.writeBack.barrier();
  }

  /**
   * Makes the change that is prepared; `header` are further fields of the header. When it rejects, the image
   * in memory is no longer what is in the file, and cannot be used any more.
   */
  async commit(header: Partial<HeaderFields>): Promise<void> {
    const { metadata, aside } = this;
    if (aside === undefined) throw new Error("a switchover has to be prepared first");
    const { storage, writeBack, refcounts } = metadata;
    const { l1_table_offset, refcount_table_offset, refcount_table_clusters } =
      metadata.header.fields;
    metadata.abandoned = true;
    await metadata.updateHeader({ ...header, ...aside.header });
    await writeBack.barrier();
    await this.writeInPlace(aside.l1);
    await writeBack.writeCounts();
    await writeBack.barrier();
    await metadata.updateHeader({
      l1_table_offset,
      refcount_table_offset,
      refcount_table_clusters,
    });
    await writeBack.barrier();
    // All is done; what cannot be cut off is not used.
    await storage.truncate?.(this.oldSize).catch(() => undefined);
    metadata.l1 = aside.l1;
    aside.l1.dirtyEntries.clear();
    refcounts.dirtyEntries.clear();
    metadata.abandoned = false;
  }

  /** The new L1 table and refcounts behind the end, and the fields of a header that points there. */
  private async putTables(l1: L1Table): Promise<Partial<HeaderFields>> {
    const { metadata } = this;
    await metadata.overlap.prevent(l1.offset, l1.bytes.length, section.activeL1);
    const copy = new L1Table(l1.offset, l1.bytes.slice());
    const aside = new Map<number, HostOffset>(this.tables);
    for (let i = 0; i < copy.length; i++) {
      const moved = aside.get(copy.l2Offset(i));
      // Nobody else refers to the copy.
      if (moved !== undefined) copy.set(i, moved);
    }
    const l1Offset = copy.length === 0 ? metadata.l1.offset : await this.put(copy.bytes);
    const [tableOffset, tableClusters] = await this.putRefcounts();
    return {
      l1_table_offset: BigInt(l1Offset),
      refcount_table_offset: BigInt(tableOffset),
      refcount_table_clusters: tableClusters,
    };
  }

  /** Copies of all refcount blocks that differ or count what is behind the end, and a table for them. */
  private async putRefcounts(): Promise<[offset: HostOffset, clusters: number]> {
    const { refcounts, geometry } = this.metadata;
    const { clusterSize, refcountsPerBlock, refcountOrder } = geometry;
    const first = this.start / clusterSize;
    const dirty = new Set<number>();
    for (const [entry, offset] of refcounts.table.entries()) {
      const block = offset === 0 ? undefined : refcounts.blocks.get(host(offset));
      if (block !== undefined && refcounts.blocks.dirty.has(block)) dirty.add(entry);
    }
    // What the copies take has to be counted, too, which may take more of them.
    let end = this.next / clusterSize;
    let entries = dirty;
    let tableClusters = 0;
    for (let last = -1; last !== end;) {
      last = end;
      entries = new Set(dirty);
      for (let entry = Math.floor(first / refcountsPerBlock); entry * refcountsPerBlock < end;) {
        entries.add(entry++);
      }
      const length = Math.max(refcounts.table.length, Math.max(...entries) + 1);
      tableClusters = divideUp(length * entrySize, clusterSize);
      end = this.next / clusterSize + entries.size + tableClusters;
    }
    const table = new Float64Array((tableClusters * clusterSize) / entrySize);
    table.set(refcounts.table);
    for (const entry of [...entries].toSorted((a, b) => a - b)) {
      const offset = refcounts.table[entry] ?? 0;
      const bytes =
        offset === 0
          ? new Uint8Array(clusterSize)
          : (await refcounts.blocks.load(host(offset))).bytes.slice();
      const view = new DataView(bytes.buffer);
      const covered = entry * refcountsPerBlock;
      const from = Math.max(first - covered, 0);
      const to = Math.min(end - covered, refcountsPerBlock);
      for (let i = from; i < to; i++) setRefcount(view, i, refcountOrder, 1);
      table[entry] = await this.put(bytes);
    }
    return [await this.put(encodeEntries(table)), tableClusters];
  }

  /** Brings the tables in place to what their copies are. */
  private async writeInPlace(l1: L1Table): Promise<void> {
    const { storage, geometry, l2 } = this.metadata;
    const bytes = new Uint8Array(geometry.clusterSize);
    for (const [place, aside] of this.tables) {
      await storage.read(aside, bytes);
      await storage.write(place, bytes);
      l2.drop(place);
    }
    if (l1.length > 0) await storage.write(l1.offset, l1.bytes);
  }
}

/** Clusters up to the last one that has a refcount; the file may end before it. */
async function usedClusters({ refcounts, geometry }: WritableMetadata): Promise<number> {
  let end = (refcounts.lastUsedEntry + 1) * geometry.refcountsPerBlock;
  while (end > 0 && (refcounts.cachedCount(end - 1) ?? (await refcounts.count(end - 1))) === 0)
    end--;
  return end;
}
