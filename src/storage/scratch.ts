import type { Storage, WritableStorage } from "./storage.ts";

/** Bytes of a page. */
const pageSize = 4096;

/** A change that has not been made: bytes `[offset, offset + length)`. */
export interface ScratchWrite {
  readonly offset: number;
  readonly length: number;
}

/**
 * A storage that can be written while the one behind it stays as it is: changes are kept in memory, by
 * pages, and noted. For showing what an operation would do.
 */
export class ScratchStorage implements WritableStorage {
  readonly name: string;
  size: number;
  /** What would have been written, in order. */
  readonly writes: ScratchWrite[] = [];
  private readonly inner: Storage;
  private readonly pages = new Map<number, Uint8Array>();

  /** Takes charge of `inner`, which is only read. */
  constructor(inner: Storage) {
    this.inner = inner;
    this.name = inner.name;
    this.size = inner.size;
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    const count = Math.max(0, Math.min(into.length, this.size - offset));
    const wanted = into.subarray(0, count);
    const found = await this.inner.read(offset, wanted);
    wanted.fill(0, found);
    for (let at = 0; at < count;) {
      const page = Math.floor((offset + at) / pageSize);
      const inside = (offset + at) % pageSize;
      const length = Math.min(pageSize - inside, count - at);
      const bytes = this.pages.get(page);
      if (bytes !== undefined) wanted.set(bytes.subarray(inside, inside + length), at);
      at += length;
    }
    return count;
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    this.writes.push({ offset, length: from.length });
    for (let at = 0; at < from.length;) {
      const number = Math.floor((offset + at) / pageSize);
      const inside = (offset + at) % pageSize;
      const length = Math.min(pageSize - inside, from.length - at);
      let page = this.pages.get(number);
      if (page === undefined) {
        page = new Uint8Array(pageSize);
        const start = number * pageSize;
        if (start < this.inner.size) await this.inner.read(start, page);
        this.pages.set(number, page);
      }
      page.set(from.subarray(at, at + length), inside);
      at += length;
    }
    this.size = Math.max(this.size, offset + from.length);
  }

  /** Space that would be given back reads as zeros, here as there. */
  async zero(offset: number, length: number): Promise<boolean> {
    await this.write(offset, new Uint8Array(length));
    return true;
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
