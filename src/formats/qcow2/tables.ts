import type { HostOffset } from "../../bytes/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Storage } from "../../storage/index.ts";
import { readFully } from "./read.ts";

/** One metadata cluster in memory: an L2 table or a refcount block. */
export class Table {
  /** Where it is, or will be, in the storage. */
  readonly offset: HostOffset;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Bytes of an entry. */
  readonly entrySize: number;
  /** The bytes [dirtyFrom, dirtyTo) differ from what is in the storage. */
  dirtyFrom = 0;
  dirtyTo = 0;
  /** Nothing in the storage points to it yet, so it may be written before anything else. */
  fresh = false;
  /** When it was last used, for eviction. */
  used = 0;

  constructor(offset: HostOffset, bytes: Uint8Array, entrySize: number) {
    this.offset = offset;
    this.bytes = bytes;
    this.entrySize = entrySize;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

/**
 * Metadata clusters in memory, within a budget. Clean tables are dropped, least recently used first;
 * dirty ones stay until the owner has written them, which it should do when
 * {@link TableCache.crowded} says so.
 */
export class TableCache {
  /** Tables that have to be written. */
  readonly dirty = new Set<Table>();
  private readonly tables = new Map<number, Table>();
  private readonly loading = new Map<number, Promise<Table>>();
  private readonly storage: Storage;
  private readonly clusterSize: number;
  private readonly capacity: number;
  private readonly what: string;
  private readonly entrySize: number;
  private clock = 0;

  /**
   * `budget` in bytes; at least four tables are kept. `what` names the tables in messages. `entry` is
   * the size of an entry in bytes.
   */
  constructor(storage: Storage, clusterSize: number, budget: number, what: string, entry = 8) {
    this.storage = storage;
    this.clusterSize = clusterSize;
    this.capacity = Math.max(4, Math.floor(budget / clusterSize));
    this.what = what;
    this.entrySize = entry;
  }

  /** The table at `offset`, if it is in memory. */
  get(offset: HostOffset): Table | undefined {
    const table = this.tables.get(offset);
    if (table !== undefined) table.used = ++this.clock;
    return table;
  }

  /**
   * The table at `offset`, read if need be. Throws `E_TRUNCATED` when the file ends before the
   * table does, `E_CORRUPT` when the offset is not aligned to a cluster.
   */
  async load(offset: HostOffset): Promise<Table> {
    const present = this.get(offset);
    if (present !== undefined) return present;
    const pending = this.loading.get(offset);
    if (pending !== undefined) {
      const loaded = await pending;
      // It may have been changed before we were told.
      return this.get(offset) ?? loaded;
    }
    const promise = this.read(offset);
    this.loading.set(offset, promise);
    let table: Table;
    try {
      table = await promise;
    } catch (error) {
      this.finishLoading(offset, promise);
      throw error;
    }
    // What has been read is of no use if the table was changed or dropped meanwhile.
    if (!this.finishLoading(offset, promise)) return this.load(offset);
    this.insert(table);
    return table;
  }

  /** Tables that may be read ahead: few enough that none pushes out another one. */
  get most(): number {
    return Math.floor(this.capacity / 4);
  }

  /**
   * Begins to read `count` tables that follow each other from `offset` on, with one request. Whoever then
   * loads one of them waits for it; what goes wrong is told then.
   */
  loadAhead(offset: HostOffset, count: number): void {
    const { clusterSize, storage } = this;
    const inside = Math.floor((storage.size - offset) / clusterSize);
    const length = Math.max(0, Math.min(count, inside)) * clusterSize;
    const isMissing = (at: number): boolean => !this.tables.has(at) && !this.loading.has(at);
    let missing = 0;
    for (let start = 0; start < length; start += clusterSize) {
      if (isMissing(offset + start)) missing++;
    }
    if (missing === 0) return;
    const bytes = new Uint8Array(length);
    const reading = readFully(storage, offset, bytes, this.what);
    reading.catch(() => undefined);
    for (let start = 0; start < bytes.length; start += clusterSize) {
      const at = (offset + start) as HostOffset;
      if (!isMissing(at)) continue;
      // A copy: one table that stays must not keep the others in memory.
      const own = () => (length === clusterSize ? bytes : bytes.slice(start, start + clusterSize));
      const promise = reading.then(
        () => new Table(at, own(), this.entrySize),
        () => this.read(at),
      );
      this.loading.set(at, promise);
      void this.keep(at, promise);
    }
  }

  /** Keeps a table once it has been read. An error is for those who wait for the table. */
  private async keep(offset: HostOffset, promise: Promise<Table>): Promise<void> {
    const table = await promise.catch(() => undefined);
    if (this.finishLoading(offset, promise) && table !== undefined) this.insert(table);
  }

  /** Whether `promise` was still the one that loads the table at `offset`; it no longer is. */
  private finishLoading(offset: HostOffset, promise: Promise<Table>): boolean {
    return this.loading.get(offset) === promise && this.loading.delete(offset);
  }

  /** A new, zeroed, dirty table at `offset`, where no table was before. */
  create(offset: HostOffset): Table {
    const table = new Table(offset, new Uint8Array(this.clusterSize), this.entrySize);
    table.fresh = true;
    this.insert(table);
    this.touch(table);
    return table;
  }

  /** Notes that the bytes [from, to) of `table` have been changed. */
  touch(table: Table, from = 0, to = this.clusterSize): void {
    const clean = table.dirtyTo === 0;
    table.dirtyFrom = clean ? from : Math.min(table.dirtyFrom, from);
    table.dirtyTo = Math.max(table.dirtyTo, to);
    if (!clean) return;
    this.dirty.add(table);
    // It may have been dropped from memory between being looked up and being changed.
    this.loading.delete(table.offset);
    this.tables.set(table.offset, table);
  }

  /** Notes that `table` is in the storage as it is here. */
  written(table: Table): void {
    table.dirtyFrom = 0;
    table.dirtyTo = 0;
    table.fresh = false;
    this.dirty.delete(table);
  }

  /** Forgets the table at `offset`, whose cluster has been freed. */
  drop(offset: HostOffset): void {
    this.loading.delete(offset);
    const table = this.tables.get(offset);
    if (table === undefined) return;
    this.tables.delete(offset);
    this.dirty.delete(table);
  }

  /** Forgets all tables: those of the storage are others now. */
  forget(): void {
    this.tables.clear();
    this.dirty.clear();
    this.loading.clear();
  }

  /** Forgets all changes that have not been written. */
  revert(): void {
    for (const table of this.dirty) this.drop(table.offset);
  }

  /** Whether dirty tables take up so much of the budget that they should be written soon. */
  get crowded(): boolean {
    return this.dirty.size > this.capacity / 2;
  }

  private async read(offset: HostOffset): Promise<Table> {
    const { name, size } = this.storage;
    if (offset % this.clusterSize !== 0) {
      throw new PlatterError(
        "E_CORRUPT",
        `${name}: ${this.what} offset ${offset} is not a multiple of the cluster size ` +
          `${this.clusterSize}; run "qemu-img check" on the image`,
        { file: name, offset, field: this.what },
      );
    }
    if (offset + this.clusterSize > size) {
      throw new PlatterError(
        "E_TRUNCATED",
        `${name}: ${this.what} at ${offset} ends after the end of the file (${size}); the file ` +
          `has been cut short`,
        { file: name, offset, field: this.what },
      );
    }
    const bytes = new Uint8Array(this.clusterSize);
    await readFully(this.storage, offset, bytes, this.what);
    return new Table(offset, bytes, this.entrySize);
  }

  private insert(table: Table): void {
    table.used = ++this.clock;
    this.tables.set(table.offset, table);
    if (this.tables.size > this.capacity) this.evict();
  }

  /** Drops the older half of the clean tables: finding the oldest one by one would cost more. */
  private evict(): void {
    const clean = [...this.tables.values()]
      .filter((table) => table.dirtyTo === 0 && table.used !== this.clock)
      .toSorted((a, b) => a.used - b.used);
    for (const table of clean.slice(0, Math.ceil(clean.length / 2))) {
      this.tables.delete(table.offset);
    }
  }
}
