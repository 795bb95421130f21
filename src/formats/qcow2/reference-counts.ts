import type { Geometry } from "./geometry.ts";
import { getRefcount, setRefcount } from "./refcount-block.ts";

/** Bytes of a page. */
const pageBytes = 4096;

/**
 * How often each cluster is referred to, as a check finds it, in the width of the image's refcounts. Memory follows the clusters that are referred to, not the size of the file.
 */
export class ReferenceCounts {
  /** Index after the last cluster that was ever referred to. */
  end = 0;
  private readonly geometry: Geometry;
  private readonly perPage: number;
  private readonly pages = new Map<number, DataView>();

  constructor(geometry: Geometry) {
    this.geometry = geometry;
    this.perPage = (pageBytes * 8) / geometry.refcountBits;
  }

  /** Adds one reference to cluster `index`; false where the width has no room for it: it is not counted. */
  add(index: number): boolean {
    const count = this.get(index);
    if (count >= this.geometry.maxRefcount) return false;
    this.set(index, count + 1);
    return true;
  }

  /** References to cluster `index` so far. */
  get(index: number): number {
    const page = this.pages.get(Math.floor(index / this.perPage));
    return page === undefined
      ? 0
      : getRefcount(page, index % this.perPage, this.geometry.refcountOrder);
  }

  private set(index: number, count: number): void {
    const number = Math.floor(index / this.perPage);
    let page = this.pages.get(number);
    if (page === undefined) {
      page = new DataView(new ArrayBuffer(pageBytes));
      this.pages.set(number, page);
    }
    setRefcount(page, index % this.perPage, this.geometry.refcountOrder, count);
    this.end = Math.max(this.end, index + 1);
  }

  /** Whether any of the clusters [first, end) may be referred to. */
  mayHave(first: number, end: number): boolean {
    for (let page = Math.floor(first / this.perPage); page * this.perPage < end; page++) {
      if (this.pages.has(page)) return true;
    }
    return false;
  }
}
