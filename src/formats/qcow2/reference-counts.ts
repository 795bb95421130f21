/** Counters in a page. */
const pageSize = 65536;

/**
 * How often each cluster is referred to, as a check finds it. Memory follows the clusters that are
 * referred to, not the size of the file.
 */
export class ReferenceCounts {
  private readonly pages = new Map<number, Uint32Array>();

  /** Adds one reference to cluster `index` and returns how many there are now. */
  add(index: number): number {
    const number = Math.floor(index / pageSize);
    let page = this.pages.get(number);
    if (page === undefined) {
      page = new Uint32Array(pageSize);
      this.pages.set(number, page);
    }
    return ++page[index % pageSize]!;
  }

  /** References to cluster `index` so far. */
  get(index: number): number {
    return this.pages.get(Math.floor(index / pageSize))?.[index % pageSize] ?? 0;
  }

  /** Whether any of the clusters [first, end) may be referred to. */
  mayHave(first: number, end: number): boolean {
    for (let page = Math.floor(first / pageSize); page * pageSize < end; page++) {
      if (this.pages.has(page)) return true;
    }
    return false;
  }
}
