import { advance, alignUp, divideUp, host, type HostOffset } from "../../bytes/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Corruption } from "./corruption.ts";
import { entrySize, maxRefcountTableBytes, type Geometry } from "./geometry.ts";
import { section, type OverlapGuard } from "./overlap.ts";
import { getRefcount, setRefcount } from "./refcount-block.ts";
import type { Refcounts } from "./refcounts.ts";
import type { Table } from "./tables.ts";

/** What the allocator needs to switch to a larger refcount table, in an order that survives. */
export interface TableSwitch {
  /** Writes all refcount blocks and `table` at `offset`, then makes the header point there. */
  (table: Float64Array, offset: HostOffset): Promise<void>;
}

/** What stands between the allocator and an image that is damaged. */
interface Safeguards {
  readonly corruption: Corruption;
  readonly overlap: OverlapGuard;
}

/**
 * Hands out and takes back host clusters. It picks the clusters that QEMU would pick, so that the
 * same operations lead to the same image: first fit from the lowest cluster that may be free, with
 * refcount blocks placed where the need for them is noticed.
 *
 * Changes refcounts in memory only; the write-back order is somebody else's business. Calls must
 * not overlap.
 */
export class Allocator {
  private readonly refcounts: Refcounts;
  private readonly geometry: Geometry;
  private readonly name: string;
  private readonly switchTable: TableSwitch;
  private readonly safeguards: Safeguards;
  /** No cluster below this one is free. */
  private firstFree = 0;
  /** Where the next packed cluster may continue; 0 when it has to start a new host cluster. */
  private packedEnd = host(0);

  constructor(
    refcounts: Refcounts,
    name: string,
    switchTable: TableSwitch,
    safeguards: Safeguards,
  ) {
    this.refcounts = refcounts;
    this.geometry = refcounts.geometry;
    this.name = name;
    this.switchTable = switchTable;
    this.safeguards = safeguards;
  }

  /** Allocates `count` contiguous clusters and returns the offset of the first. */
  async allocate(count: number): Promise<HostOffset> {
    for (;;) {
      const first = await this.findFree(count);
      if (await this.change(first, count, 1)) return this.offsetOf(first);
    }
  }

  /**
   * Allocates up to `count` clusters from `offset` on, as many as are free there, and returns how
   * many that were.
   */
  async allocateAt(offset: HostOffset, count: number): Promise<number> {
    const first = offset / this.geometry.clusterSize;
    for (;;) {
      let free = 0;
      while (free < count) {
        const index = first + free;
        const used = this.refcounts.cachedCount(index) ?? (await this.refcounts.count(index));
        if (used !== 0) break;
        free++;
      }
      if (await this.change(first, free, 1)) return free;
    }
  }

  /**
   * Allocates up to `count` clusters that lie one behind the other, as far as their refcount block reaches: those that
   * {@link Allocator.allocate} would give, however they were asked for. Undefined, with nothing changed, where a
   * cluster in use is in between or there is no such block.
   */
  async allocateNext(
    count: number,
  ): Promise<{ readonly offset: HostOffset; readonly count: number } | undefined> {
    const first = await this.findFree(1);
    this.firstFree = first;
    if ((await this.refcounts.block(first)) === undefined) return undefined;
    const end = Math.min(first + count, alignUp(first + 1, this.geometry.refcountsPerBlock));
    for (let index = first; index < end; index++) {
      if (this.refcounts.cachedCount(index) !== 0) return undefined;
    }
    await this.change(first, end - first, 1);
    this.firstFree = end;
    return { offset: this.offsetOf(first), count: end - first };
  }

  /**
   * Finds `length` bytes for a packed cluster, sharing the host cluster of the previous one where
   * it fits, and returns their offset, which is at most `maxOffset`.
   */
  async allocatePacked(length: number, maxOffset: number): Promise<HostOffset> {
    const { clusterSize, maxRefcount } = this.geometry;
    let offset = this.packedEnd;
    if (offset !== 0) {
      const count = await this.refcounts.count(Math.floor(offset / clusterSize));
      if (count === maxRefcount) offset = host(0);
    }
    for (;;) {
      const room = offset === 0 ? 0 : clusterSize - (offset % clusterSize);
      if (room < length) {
        const next = this.offsetOf(await this.findFree(1));
        if (next === 0) throw await this.atZero("compressed cluster");
        if (next > maxOffset) throw this.tooLarge(next);
        if (offset === 0 || alignUp(offset, clusterSize) !== next) offset = next;
      }
      const first = Math.floor(offset / clusterSize);
      const last = Math.floor((offset + length - 1) / clusterSize);
      if (await this.change(first, last - first + 1, 1)) break;
      offset = host(0);
    }
    const end = advance(offset, length);
    this.packedEnd = end % clusterSize === 0 ? host(0) : end;
    return offset;
  }

  /**
   * Adds a reference to the clusters that `length` bytes from `offset` on touch. Throws `E_CORRUPT` when
   * one of them is not in use, `E_LIMIT` when its refcount cannot hold another reference.
   */
  async retain(offset: HostOffset, length: number): Promise<void> {
    const { clusterSize, maxRefcount } = this.geometry;
    const first = Math.floor(offset / clusterSize);
    const last = Math.floor((offset + length - 1) / clusterSize);
    for (let index = first; index <= last; index++) {
      const count = this.refcounts.cachedCount(index) ?? (await this.refcounts.count(index));
      if (count === 0) throw this.impossible(index, 0, 1);
      if (count === maxRefcount) {
        throw new PlatterError(
          "E_LIMIT",
          `${this.name}: cluster ${index} (offset ${index * clusterSize}) has ${count} references, and ` +
            `its refcount has no room for more; "amend -o refcount_bits=" makes room`,
          { file: this.name, field: "refcount", value: count, qemu: "Invalid argument" },
        );
      }
    }
    await this.change(first, last - first + 1, 1);
  }

  /** Gives back the clusters that `length` bytes from `offset` on touch. */
  async release(offset: HostOffset, length: number): Promise<void> {
    const { clusterSize } = this.geometry;
    const first = Math.floor(offset / clusterSize);
    await this.change(first, Math.floor((offset + length - 1) / clusterSize) - first + 1, -1);
  }

  /**
   * Makes a new refcount table and the blocks that cover it and `additional` more clusters, all of
   * them from `start` (after the last used cluster) on. Returns the offset after them. With
   * `exact`, the table gets no room to grow. `pending` is a block that has no entry yet.
   */
  async rebuildTable(
    start: HostOffset,
    additional: number,
    exact: boolean,
    pending?: { readonly entry: number; readonly offset: HostOffset },
  ): Promise<HostOffset> {
    const { clusterSize, refcountsPerBlock } = this.geometry;
    const used = this.refcounts.lastUsedEntry + 1;
    // Blocks may be left over from a time when the file was longer.
    const needed = Math.max(
      used,
      blocksNeeded(start / clusterSize + additional, this.geometry, !exact),
    );
    const wanted = exact ? needed : needed + divideUp(needed, 2);
    const entries = alignUp(wanted, clusterSize / entrySize);
    if (entries * entrySize > maxRefcountTableBytes) throw this.tooLarge(start);

    const table = new Float64Array(entries);
    table.set(this.refcounts.table.subarray(0, used));
    if (pending !== undefined) table[pending.entry] = pending.offset;

    const firstEntry = Math.floor(start / clusterSize / refcountsPerBlock);
    let newBlocks = 0;
    for (let i = firstEntry; i < needed; i++) if (table[i] === 0) newBlocks++;
    const tableOffset = advance(start, newBlocks * clusterSize);
    const end = advance(tableOffset, entries * entrySize);
    await this.safeguards.overlap.prevent(start, end - start);

    let blockOffset = start;
    for (let i = firstEntry; i < needed; i++) {
      let block: Table;
      if (table[i] !== 0) {
        block = await this.refcounts.blocks.load(host(table[i]!));
      } else {
        block = this.refcounts.blocks.create(blockOffset);
        table[i] = blockOffset;
        blockOffset = advance(blockOffset, clusterSize);
      }
      this.markUsed(block, i, start / clusterSize, end / clusterSize);
    }

    const oldOffset = this.refcounts.tableOffset;
    const oldLength = this.refcounts.table.length * entrySize;
    try {
      await this.switchTable(table, tableOffset);
    } catch (error) {
      // Blocks that no table knows must not be written over what gets their place next.
      for (let at = start; this.refcounts.table !== table && at < tableOffset;) {
        this.refcounts.blocks.drop(at);
        at = advance(at, clusterSize);
      }
      throw error;
    }
    await this.release(oldOffset, oldLength);
    return end;
  }

  /** Sets the refcount of the clusters [first, end) that block number `entry` covers to one. */
  private markUsed(block: Table, entry: number, first: number, end: number): void {
    const { refcountsPerBlock, refcountOrder } = this.geometry;
    const covered = entry * refcountsPerBlock;
    const from = Math.max(first - covered, 0);
    const to = Math.min(end - covered, refcountsPerBlock);
    for (let i = from; i < to; i++) setRefcount(block.view, i, refcountOrder, 1);
    if (from < to) this.refcounts.blocks.touch(block);
  }

  /** Index of the first of so many free contiguous clusters; the search goes on after them. */
  private async findFree(clusters: number): Promise<number> {
    let run = 0;
    while (run < clusters) {
      const index = this.firstFree++;
      const count = this.refcounts.cachedCount(index) ?? (await this.refcounts.count(index));
      run = count === 0 ? run + 1 : 0;
    }
    const first = this.firstFree - clusters;
    if (this.firstFree * this.geometry.clusterSize > Number.MAX_SAFE_INTEGER) {
      throw this.tooLarge(first * this.geometry.clusterSize);
    }
    return first;
  }

  /**
   * Adds `by` to the refcounts of `count` clusters from `first` on. Returns false, having undone
   * everything, when a refcount block had to be allocated on the way: it may now be where the
   * caller wanted its clusters, so the caller has to look for a place again.
   */
  private async change(first: number, count: number, by: 1 | -1): Promise<boolean> {
    const { refcountsPerBlock, refcountOrder, maxRefcount } = this.geometry;
    let block: Table | undefined;
    let covered = -1;
    for (let index = first; index < first + count; index++) {
      const entry = Math.floor(index / refcountsPerBlock);
      if (entry !== covered) {
        block = this.refcounts.cachedBlock(index) ?? (await this.refcounts.block(index));
        if (block === undefined && by > 0) {
          try {
            await this.addBlock(index);
          } finally {
            await this.change(first, index - first, -1);
          }
          // The clusters that were wanted are tried first again.
          this.firstFree = Math.min(this.firstFree, first);
          return false;
        }
        covered = entry;
      }
      const at = index % refcountsPerBlock;
      const old = block === undefined ? 0 : getRefcount(block.view, at, refcountOrder);
      const now = old + by;
      if (block === undefined || now < 0 || now > maxRefcount) {
        await this.change(first, index - first, by > 0 ? -1 : 1);
        throw this.impossible(index, old, now);
      }
      setRefcount(block.view, at, refcountOrder, now);
      this.refcounts.blocks.touch(block);
      if (now === 0) this.freed(index);
    }
    return true;
  }

  private freed(index: number): void {
    this.firstFree = Math.min(this.firstFree, index);
    if (Math.floor(this.packedEnd / this.geometry.clusterSize) === index) this.packedEnd = host(0);
    this.refcounts.blocks.drop(this.offsetOf(index));
  }

  /** Makes the refcount block that covers cluster `index`, which has none. */
  private async addBlock(index: number): Promise<void> {
    const { refcountsPerBlock, refcountOrder } = this.geometry;
    const entry = Math.floor(index / refcountsPerBlock);
    const self = await this.findFree(1);
    if (self === 0) throw await this.atZero("refcount block");
    // With the cluster that it is in, another table would be gone from memory, too.
    await this.safeguards.overlap.prevent(this.offsetOf(self), this.geometry.clusterSize);
    if (Math.floor(self / refcountsPerBlock) === entry) {
      const block = this.refcounts.blocks.create(this.offsetOf(self));
      setRefcount(block.view, self % refcountsPerBlock, refcountOrder, 1);
    } else {
      // Another block counts it. Should that one have to be made first, the caller comes back.
      if (!(await this.change(self, 1, 1))) return;
      this.refcounts.blocks.create(this.offsetOf(self));
    }
    if (entry < this.refcounts.table.length) {
      this.refcounts.table[entry] = this.offsetOf(self);
      this.safeguards.overlap.add(this.offsetOf(self), section.refcountBlock);
      this.refcounts.dirtyEntries.add(entry);
      return;
    }
    const blocksUsed = divideUp(Math.max(index, self) + 1, refcountsPerBlock);
    const start = this.offsetOf(blocksUsed * refcountsPerBlock);
    try {
      await this.rebuildTable(start, 0, false, { entry, offset: this.offsetOf(self) });
    } catch (error) {
      if (this.refcounts.blockOffset(index) === 0) this.refcounts.blocks.drop(this.offsetOf(self));
      throw error;
    }
  }

  /** The error for a place that nothing but the header can have: its cluster is counted as free. */
  private atZero(what: string): Promise<PlatterError> {
    return this.safeguards.corruption.signal(
      `Preventing invalid allocation of ${what} at offset 0`,
    );
  }

  private offsetOf(cluster: number): HostOffset {
    return host(cluster * this.geometry.clusterSize);
  }

  private impossible(index: number, old: number, now: number): PlatterError {
    const { clusterSize } = this.geometry;
    return new PlatterError(
      "E_CORRUPT",
      `${this.name}: the refcount of cluster ${index} (offset ${index * clusterSize}) is ` +
        `${old} and cannot become ${now}; run "qemu-img check" on the image`,
      { file: this.name, field: "refcount", offset: index * clusterSize, value: old },
    );
  }

  private tooLarge(offset: number): PlatterError {
    return new PlatterError(
      "E_FILE_TOO_LARGE",
      `${this.name}: the image file would grow past what its format can address (at ${offset}); ` +
        `use larger clusters`,
      { file: this.name, offset, qemu: "File too large" },
    );
  }
}

/**
 * Refcount blocks needed for `clusters` clusters and for the refcount blocks and table themselves.
 * `generous` makes room for the table to be half as large again.
 */
export function blocksNeeded(clusters: number, geometry: Geometry, generous: boolean): number {
  const entriesPerCluster = geometry.clusterSize / entrySize;
  let counted = clusters;
  let mayGrow = generous;
  let table = 0;
  let blocks = 0;
  for (let total = 0, last = -1; total !== last;) {
    last = total;
    blocks = divideUp(counted + table + blocks, geometry.refcountsPerBlock);
    table = divideUp(blocks, entriesPerCluster);
    total = counted + blocks + table;
    if (total === last && mayGrow) {
      counted += divideUp(table, 2);
      total = 0;
      mayGrow = false;
    }
  }
  return blocks;
}
