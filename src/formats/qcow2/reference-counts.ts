import type { Geometry } from "./geometry.ts";
import { getRefcount, setRefcount } from "./refcount-block.ts";

/** Bytes of a page. */
const pageBytes = 4096;

/** Counts of consecutive clusters. */
type Page = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/**
 * How often each cluster is referred to, as a check finds it, in the width of the image's refcounts. Memory follows the clusters that are referred to, not the size of the file.
 */
export class ReferenceCounts {
  /** Index after the last cluster that was ever referred to. */
  end = 0;
  private readonly order: number;
  private readonly most: number;
  /** Clusters that a page counts. */
  private readonly pageSize: number;
  private readonly pages = new Map<number, Page>();
  /** The page that was asked for last, most often the next one, too. */
  private recent: Page | undefined;
  /** The cluster that it counts first. */
  private recentFirst = -Infinity;

  constructor(geometry: Geometry) {
    this.order = geometry.refcountOrder;
    this.most = geometry.maxRefcount;
    this.pageSize = (pageBytes * 8) / geometry.refcountBits;
  }

  /** Adds one reference to cluster `index`; false where the width has no room for it: it is not counted. */
  add(index: number): boolean {
    const page = this.page(index) ?? this.newPage(index);
    const at = index - this.recentFirst;
    const count = this.read(page, at);
    if (count >= this.most) return false;
    if (this.order >= 3) page[at] = count + 1;
    else setRefcount(viewOf(page), at, this.order, count + 1);
    if (index >= this.end) this.end = index + 1;
    return true;
  }

  /** As {@link ReferenceCounts.add} for `length` clusters from `index` on, up to the first without room. Returns how many. */
  addRun(index: number, length: number): number {
    if (this.order < 3) return this.add(index) ? 1 : 0;
    let done = 0;
    while (done < length) {
      const page = this.page(index + done) ?? this.newPage(index + done);
      const at = index + done - this.recentFirst;
      const stop = Math.min(this.pageSize, at + length - done);
      let next = at;
      while (next < stop && page[next]! < this.most) page[next++]!++;
      done += next - at;
      if (next < stop) break;
    }
    if (done > 0) this.end = Math.max(this.end, index + done);
    return done;
  }

  /** References to cluster `index` so far. */
  get(index: number): number {
    const page = this.page(index);
    return page === undefined ? 0 : this.read(page, index - this.recentFirst);
  }

  /** Whether any of the clusters [first, end) may be referred to. */
  mayHave(first: number, end: number): boolean {
    const { pageSize } = this;
    for (let page = Math.floor(first / pageSize); page * pageSize < end; page++) {
      if (this.pages.has(page)) return true;
    }
    return false;
  }

  /** First clusters of all blocks of `size` clusters that may be referred to, in order. */
  blocks(size: number): number[] {
    const firsts = new Set<number>();
    for (const page of this.pages.keys()) {
      const start = page * this.pageSize;
      const block = start - (start % size);
      for (let first = block; first < start + this.pageSize; first += size) firsts.add(first);
    }
    return [...firsts].toSorted((a, b) => a - b);
  }

  /** Counts narrower than a byte share it. */
  private read(page: Page, at: number): number {
    return this.order >= 3 ? page[at]! : getRefcount(viewOf(page), at, this.order);
  }

  /** The page that counts cluster `index`, which is the recent one then. */
  private page(index: number): Page | undefined {
    const at = index - this.recentFirst;
    if (at >= 0 && at < this.pageSize) return this.recent;
    const number = Math.floor(index / this.pageSize);
    this.recentFirst = number * this.pageSize;
    this.recent = this.pages.get(number);
    return this.recent;
  }

  /** As {@link ReferenceCounts.page}, which has not found one. */
  private newPage(index: number): Page {
    const page = newPage(this.order);
    this.pages.set(Math.floor(index / this.pageSize), page);
    this.recent = page;
    return page;
  }
}

const viewOf = ({ buffer }: Page): DataView => new DataView(buffer);

function newPage(order: number): Page {
  const bytes = new ArrayBuffer(pageBytes);
  switch (order) {
    case 4:
      return new Uint16Array(bytes);
    case 5:
      return new Uint32Array(bytes);
    case 6:
      return new Float64Array(bytes);
    default:
      return new Uint8Array(bytes);
  }
}
