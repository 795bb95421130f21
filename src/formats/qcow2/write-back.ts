import type { HostOffset } from "../../bytes/index.ts";
import { PlatterError } from "../../errors.ts";
import type { WritableStorage } from "../../storage/index.ts";
import { entrySize } from "./geometry.ts";
import type { WritableMetadata } from "./metadata.ts";
import { anyL2, section } from "./overlap.ts";
import type { Table } from "./tables.ts";

/**
 * Brings changed metadata to the storage in an order that a crash at any point survives:
 *
 * 1. refcount blocks (their counts are only ever too high here); barrier, if new ones are among
 *    them, for they count each other;
 * 2. refcount table entries, L2 tables that nothing points to yet, and with them all guest data
 *    written so far; barrier;
 * 3. L2 and L1 entries, which make the data visible; barrier;
 * 4. only now do the refcounts of what was replaced drop, so that nothing that an old L2 entry in
 *    the storage may still point to is reused.
 *
 * What is lost in a crash is a leak at worst.
 *
 * With lazy refcounts (specification, "Host cluster management") the counts of step 1 wait for the end of
 * the session: before the first entry that relies on them, the image is marked dirty, and the mark goes when
 * they have been written. A crash leaves an image whose refcounts have to be repaired.
 */
export class WriteBack {
  private readonly storage: WritableStorage;
  private readonly metadata: WritableMetadata;
  /** Clusters to be released once no L2 entry in the storage points to them. */
  private pending: Array<{ -readonly [K in keyof Release]: Release[K] }> = [];

  /**
   * Whether steps are kept apart by flushes of the storage. Without, the order holds against the
   * end of this process, but not against the end of the machine.
   */
  barriers: boolean;

  constructor(storage: WritableStorage, metadata: WritableMetadata, barriers: boolean) {
    this.storage = storage;
    this.metadata = metadata;
    this.barriers = barriers;
  }

  /** Takes note of clusters that have lost a reference. */
  releaseLater(release: Release): void {
    const last = this.pending.at(-1);
    if (last !== undefined && this.continues(last, release)) last.length += release.length;
    else this.pending.push({ ...release });
  }

  /** Whole clusters in a row are released in one go. A packed one counts by itself. */
  private continues(last: Release, next: Release): boolean {
    const { clusterSize } = this.metadata.geometry;
    return (
      last.offset + last.length === next.offset &&
      last.ready === next.ready &&
      last.punch === next.punch &&
      next.offset % clusterSize === 0 &&
      last.length % clusterSize === 0 &&
      next.length % clusterSize === 0
    );
  }

  /** Runs steps 1 to 4. `durable`: end with everything on stable storage. */
  async flush(durable: boolean): Promise<void> {
    this.metadata.corruption.refuseUse();
    if (this.metadata.abandoned) throw this.broken();
    const { l1, l2, refcounts, isLazy } = this.metadata;
    if (!isLazy) await this.writeCounts();
    else if (refcounts.blocks.dirty.size > 0) await this.metadata.markDirty();
    for (const table of ordered(l2.dirty)) if (table.fresh) await this.writeL2(table);
    if (l2.dirty.size > 0 || l1.dirtyEntries.size > 0) {
      await this.barrier();
      for (const table of ordered(l2.dirty)) await this.writeL2(table);
      await this.writeEntries(l1.dirtyEntries, l1.offset, section.activeL1, (from, to) =>
        l1.bytes.subarray(from * entrySize, to * entrySize),
      );
    }
    const releases: Release[] = [];
    const waiting: typeof this.pending = [];
    for (const release of this.pending) (release.ready() ? releases : waiting).push(release);
    if (durable) await this.sync();
    else if (releases.length > 0) await this.barrier();
    this.pending = waiting;
    for (const release of releases) await this.release(release);
  }

  /** Everything, including the refcounts that step 4 dropped; for the end of a session. */
  async finish(durable: boolean): Promise<void> {
    // Whoever broke it off has been told.
    if (this.metadata.abandoned) return;
    await this.flush(durable);
    const { blocks, dirtyEntries } = this.metadata.refcounts;
    if (blocks.dirty.size === 0 && dirtyEntries.size === 0 && !this.metadata.isDirty) return;
    await this.writeCounts();
    if (this.metadata.isDirty) {
      await this.barrier();
      await this.metadata.clearDirty();
    }
    if (durable) await this.sync();
  }

  /** As {@link WriteBack.flush}, and all counts are as they are here, lazy or not. */
  async settle(): Promise<void> {
    await this.flush(true);
    if (this.metadata.refcounts.blocks.dirty.size === 0) return;
    await this.writeCounts();
    await this.sync();
  }

  /** Writes all refcount blocks, whether or not something points to them. */
  private async writeBlocks(): Promise<void> {
    const { blocks } = this.metadata.refcounts;
    for (const block of ordered(blocks.dirty)) {
      await this.write(block, blocks, section.refcountBlock);
    }
  }

  /** Resolves when everything written before is ahead of everything written later. */
  async barrier(): Promise<void> {
    if (this.barriers) await this.sync();
  }

  /** Everything written so far is on stable storage: data first, where it has a file of its own. */
  private async sync(): Promise<void> {
    const { dataFile, dataStorage } = this.metadata;
    if (dataFile !== undefined) await dataStorage.flush();
    await this.storage.flush();
  }

  /** Step 1, and the table entries of new refcount blocks. */
  async writeCounts(): Promise<void> {
    const { refcounts } = this.metadata;
    await this.writeBlocks();
    if (refcounts.dirtyEntries.size === 0) return;
    await this.barrier();
    const { dirtyEntries, tableOffset } = refcounts;
    await this.writeEntries(dirtyEntries, tableOffset, section.refcountTable, (from, to) =>
      encodeEntries(refcounts.table.subarray(from, to)),
    );
  }

  /** Releases clusters that nothing in the storage points to any more. */
  async release({ offset, length, punch }: Omit<Release, "ready">): Promise<void> {
    await this.metadata.allocator.release(offset, length);
    if (punch) await this.punchUnused(offset, length);
  }

  /** Gives back to the host those clusters of a range that nothing uses any more. */
  async punchUnused(offset: HostOffset, length: number): Promise<void> {
    const { storage } = this;
    if (storage.zero === undefined) return;
    const { refcounts, geometry } = this.metadata;
    const { clusterSize } = geometry;
    const last = Math.floor((offset + length - 1) / clusterSize);
    // A packed cluster shares its host cluster, which may still be in use.
    const isFree = (index: number): boolean => refcounts.cachedCount(index) === 0;
    for (let first = Math.floor(offset / clusterSize); first <= last; first++) {
      if (!isFree(first)) continue;
      let end = first + 1;
      while (end <= last && isFree(end)) end++;
      const stop = Math.min(end * clusterSize, storage.size);
      const start = first * clusterSize;
      if (start < stop) await this.punch(start, stop - start);
      first = end;
    }
  }

  /** Gives a range that nothing uses back to the host; one that cannot take it has it go on as it is. */
  async punch(offset: number, length: number): Promise<void> {
    const inside = Math.min(length, this.storage.size - offset);
    if (inside > 0) {
      await this.storage.zero?.(offset, inside, { unmap: true }).catch(() => false);
    }
  }

  private broken(): PlatterError {
    const { name: file } = this.storage;
    return new PlatterError(
      "E_IO",
      `${file}: an earlier change of the image failed half-way, so that nothing can be written any more; ` +
        `close it and run "check" on it`,
      { file, qemu: "Input/output error" },
    );
  }

  private writeL2(table: Table): Promise<void> {
    return this.write(table, this.metadata.l2, anyL2);
  }

  /** `kind` is what the table itself is, and so may be written over. */
  private async write(
    table: Table,
    cache: { written(table: Table): void },
    kind: number,
  ): Promise<void> {
    const unsure = this.metadata.overlap.prevent(table.offset, table.bytes.length, kind);
    if (unsure !== undefined) await unsure;
    const { dirtyFrom, dirtyTo, fresh, bytes, offset } = table;
    const from = fresh ? 0 : dirtyFrom - (dirtyFrom % 512);
    const to = fresh
      ? bytes.length
      : Math.min(bytes.length, dirtyTo + 511 - ((dirtyTo + 511) % 512));
    await this.storage.write(offset + from, bytes.subarray(from, to));
    cache.written(table);
  }

  /** Writes runs of changed 8-byte entries of a table at `offset`. */
  private async writeEntries(
    dirty: Set<number>,
    offset: number,
    kind: number,
    encode: (from: number, to: number) => Uint8Array,
  ): Promise<void> {
    const entries = [...dirty].toSorted((a, b) => a - b);
    for (let i = 0; i < entries.length;) {
      let next = i + 1;
      while (next < entries.length && entries[next] === entries[i]! + (next - i)) next++;
      const from = entries[i]!;
      await this.metadata.overlap.prevent(offset + from * entrySize, (next - i) * entrySize, kind);
      await this.storage.write(offset + from * entrySize, encode(from, from + next - i));
      i = next;
    }
    for (const entry of entries) dirty.delete(entry);
  }
}

/** Clusters that have lost a reference. */
export interface Release {
  readonly offset: HostOffset;
  readonly length: number;
  /** Give the space back to the host as well. */
  readonly punch: boolean;
  /** Whether nobody reads from there any more on the strength of an older mapping. */
  readonly ready: () => boolean;
}

/** Tables in the order of their place in the storage. */
function ordered(tables: ReadonlySet<Table>): Table[] {
  return [...tables].toSorted((a, b) => a.offset - b.offset);
}

/** The bytes of refcount table entries. */
export function encodeEntries(table: Float64Array): Uint8Array {
  const bytes = new Uint8Array(table.length * entrySize);
  const view = new DataView(bytes.buffer);
  table.forEach((offset, i) => view.setBigUint64(i * entrySize, BigInt(offset)));
  return bytes;
}
