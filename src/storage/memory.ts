import { PlatterError } from "../errors.ts";
import { checkRange, refuseClosed } from "./range.ts";
import { RangeSet } from "./range-set.ts";
import type { Storage, StorageExtent } from "./storage.ts";

/** Bytes in a page, the unit in which {@link MemoryStorage} takes and reports space. */
export const memoryPageSize = 64 * 1024;

/** How a {@link MemoryStorage} is made. */
export interface MemoryStorageOptions {
  /** What error messages call it. Default: `memory`. */
  readonly name?: string;
  /** Length in bytes at first, all of it a hole. Default: 0. */
  readonly size?: number;
}

let made = 0;

/**
 * A storage in memory, with every capability a file has. It takes up what has been written to it, in
 * pages of 64 KiB, so a terabyte that is nearly empty costs next to nothing. Offsets and sizes go up
 * to 2^53 − 1.
 *
 * {@link MemoryStorage.extent} tells written pages from holes; reserved space that has not been
 * written is a hole, as on most filesystems, but counts in {@link MemoryStorage.allocatedBytes}.
 *
 * Throws `E_CLOSED` after `close`, `E_INVALID_ARGUMENT` for an offset or length that is not a whole
 * number from 0 up, and `E_FILE_TOO_LARGE` beyond 2^53 − 1.
 */
export class MemoryStorage implements Storage {
  readonly name: string;
  readonly identity: string;
  #size: number;
  #closed = false;
  /** Written pages by number. Bytes of a page past the end of the storage are zero. */
  readonly #pages = new Map<number, Uint8Array>();
  /** The keys of `#pages`. */
  #written = new RangeSet();
  /** Pages that are written or reserved. */
  #allocated = new RangeSet();

  constructor(options: MemoryStorageOptions = {}) {
    this.name = options.name ?? "memory";
    this.identity = `memory:${++made}`;
    this.#size = options.size ?? 0;
    checkRange(this, 0, this.#size);
  }

  /** A storage that holds a copy of `bytes`. */
  static from(bytes: Uint8Array, name?: string): MemoryStorage {
    const storage = new MemoryStorage(name === undefined ? {} : { name });
    storage.writeSync(0, bytes);
    return storage;
  }

  get size(): number {
    return this.#size;
  }

  /** Another storage with the same bytes, holes and reserved space, and an identity of its own. */
  clone(name: string = this.name): MemoryStorage {
    const copy = new MemoryStorage({ name, size: this.#size });
    for (const [number, page] of this.#pages) copy.#pages.set(number, page.slice());
    copy.#written = this.#written.clone();
    copy.#allocated = this.#allocated.clone();
    return copy;
  }

  /** A copy of all bytes. Throws `E_LIMIT` when they do not fit into one array. */
  toBytes(): Uint8Array {
    return this.slice(0, this.#size);
  }

  /** A copy of the bytes `[start, end)`, cut at the end of the storage. Throws as `toBytes`. */
  slice(start: number, end: number = this.#size): Uint8Array {
    const length = Math.max(0, Math.min(end, this.#size) - start);
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(length);
    } catch (cause) {
      throw new PlatterError(
        "E_LIMIT",
        `${length} bytes of ${this.name} do not fit into one array: read them in parts.`,
        { file: this.name, value: length, cause },
      );
    }
    this.readSync(start, bytes);
    return bytes;
  }

  readSync(offset: number, into: Uint8Array): number {
    this.#check(offset, into.length);
    const length = Math.max(0, Math.min(into.length, this.#size - offset));
    forEachPage(offset, length, (number, inPage, at, count) => {
      const page = this.#pages.get(number);
      if (page === undefined) into.fill(0, at, at + count);
      else into.set(page.subarray(inPage, inPage + count), at);
    });
    return length;
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    return this.readSync(offset, into);
  }

  writeSync(offset: number, from: Uint8Array): void {
    this.#check(offset, from.length);
    // A write of nothing does not grow a file either.
    if (from.length === 0) return;
    forEachPage(offset, from.length, (number, inPage, at, count) => {
      let page = this.#pages.get(number);
      if (page === undefined) {
        page = new Uint8Array(memoryPageSize);
        this.#pages.set(number, page);
      }
      page.set(from.subarray(at, at + count), inPage);
    });
    const { first, end } = pagesOver(offset, from.length);
    this.#written.add(first, end);
    this.#allocated.add(first, end);
    this.#size = Math.max(this.#size, offset + from.length);
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    this.writeSync(offset, from);
  }

  /** Does nothing: memory is as stable as it gets. */
  async flush(): Promise<void> {
    refuseClosed(this, this.#closed);
  }

  async truncate(size: number): Promise<void> {
    this.#check(0, size);
    if (size < this.#size) this.#clear(size, this.#size - size);
    this.#size = size;
  }

  /** Also grows the storage, as a write of zeros would. Always resolves to true. */
  async zero(
    offset: number,
    length: number,
    options: { readonly unmap: boolean },
  ): Promise<boolean> {
    this.#check(offset, length);
    if (length === 0) return true;
    const { first, end } = pagesOver(offset, length);
    this.#clear(offset, length);
    if (!options.unmap) this.#allocated.add(first, end);
    this.#size = Math.max(this.#size, offset + length);
    return true;
  }

  /** Also grows the storage, as `fallocate` does. Costs no memory before the range is written. */
  async allocate(offset: number, length: number): Promise<void> {
    this.#check(offset, length);
    if (length === 0) return;
    const { first, end } = pagesOver(offset, length);
    this.#allocated.add(first, end);
    this.#size = Math.max(this.#size, offset + length);
  }

  /** Whole pages; past the end of the storage all is hole. */
  extent(offset: number): StorageExtent {
    this.#check(offset, 0);
    if (offset >= this.#size) return { end: Number.MAX_SAFE_INTEGER, data: false };
    const run = this.#written.run(Math.floor(offset / memoryPageSize));
    return { end: Math.min(run.end * memoryPageSize, this.#size), data: run.inside };
  }

  /** Pages that are written or reserved, in bytes. */
  async allocatedBytes(): Promise<number> {
    refuseClosed(this, this.#closed);
    return this.#allocated.count * memoryPageSize;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#pages.clear();
  }

  #check(offset: number, length: number): void {
    refuseClosed(this, this.#closed);
    checkRange(this, offset, length);
  }

  /** Lets go of the whole pages of the range and puts zeros into the others. */
  #clear(offset: number, length: number): void {
    const limit = offset + length;
    const first = Math.ceil(offset / memoryPageSize);
    // What follows the end of the storage is zero, so a last page cut by the end is a whole one.
    const last =
      limit >= this.#size ? Math.ceil(limit / memoryPageSize) : Math.floor(limit / memoryPageSize);
    for (const [from, to] of this.#written.ranges(first, last)) {
      for (let number = from; number < to; number++) this.#pages.delete(number);
    }
    this.#written.delete(first, last);
    this.#allocated.delete(first, last);
    const zeros = (from: number, to: number): void => {
      const number = Math.floor(from / memoryPageSize);
      const start = number * memoryPageSize;
      if (from < to) this.#pages.get(number)?.fill(0, from - start, to - start);
    };
    zeros(offset, Math.min(limit, first * memoryPageSize));
    zeros(Math.max(offset, last * memoryPageSize), limit);
  }
}

/** The pages that a range of at least one byte lies in; `[0, 0)` for none. */
function pagesOver(
  offset: number,
  length: number,
): { readonly first: number; readonly end: number } {
  return {
    first: Math.floor(offset / memoryPageSize),
    end: Math.ceil((offset + length) / memoryPageSize),
  };
}

/** Calls `visit` for the part of the range in each page; `at` counts from `offset`. */
function forEachPage(
  offset: number,
  length: number,
  visit: (number: number, inPage: number, at: number, count: number) => void,
): void {
  for (let at = 0; at < length;) {
    const number = Math.floor((offset + at) / memoryPageSize);
    const inPage = offset + at - number * memoryPageSize;
    const count = Math.min(memoryPageSize - inPage, length - at);
    visit(number, inPage, at, count);
    at += count;
  }
}
