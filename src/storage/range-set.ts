/**
 * A set of whole numbers kept as sorted ranges, so that it costs what it has of gaps and not what it
 * has of members: which pages of a storage are written, which blocks of a disk are in use.
 *
 * Ranges are `[start, end)`. Finding takes logarithmic time, as does adding at the end; a change in
 * the middle moves the ranges behind it.
 */
export class RangeSet {
  /** Start, end, start, end … in strictly ascending order. */
  readonly #bounds: number[] = [];
  #count = 0;

  /** How many numbers are in the set. */
  get count(): number {
    return this.#count;
  }

  /** Adds all numbers of `[start, end)`. */
  add(start: number, end: number): void {
    this.#replace(start, end, true);
  }

  /** Removes all numbers of `[start, end)`. */
  delete(start: number, end: number): void {
    this.#replace(start, end, false);
  }

  /** Whether `value` is in the set. */
  has(value: number): boolean {
    return this.run(value).inside;
  }

  /**
   * The run that `value` lies in: whether its numbers are in the set, and where it ends; `Infinity`
   * for the gap after the last range.
   */
  run(value: number): { readonly inside: boolean; readonly end: number } {
    const index = this.#boundsUpTo(value);
    return { inside: index % 2 === 1, end: this.#bounds[index] ?? Infinity };
  }

  /** How many numbers of `[start, end)` are in the set. */
  countIn(start: number, end: number): number {
    let count = 0;
    for (const [from, to] of this.ranges(start, end)) count += to - from;
    return count;
  }

  /** The parts of `[start, end)` that are in the set, in order. The set must not change meanwhile. */
  *ranges(start = -Infinity, end = Infinity): Generator<readonly [start: number, end: number]> {
    if (start >= end) return;
    const first = this.#boundsUpTo(start) & ~1;
    for (let i = first; i < this.#bounds.length && this.#bounds[i]! < end; i += 2) {
      yield [Math.max(start, this.#bounds[i]!), Math.min(end, this.#bounds[i + 1]!)];
    }
  }

  /** A set with the same members. */
  clone(): RangeSet {
    const copy = new RangeSet();
    for (const bound of this.#bounds) copy.#bounds.push(bound);
    copy.#count = this.#count;
    return copy;
  }

  /** How many bounds are at or below `value`. Odd: `value` is in the set. */
  #boundsUpTo(value: number): number {
    const bounds = this.#bounds;
    let low = 0;
    let high = bounds.length;
    // What grows a storage looks at its end.
    if (high > 0 && bounds[high - 1]! <= value) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bounds[middle]! <= value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #replace(start: number, end: number, inside: boolean): void {
    if (start >= end) return;
    const before = this.countIn(start, end);
    const bounds = this.#bounds;
    // All bounds from `start` to `end`, both included, go; a range that only touches is joined.
    let from = this.#boundsUpTo(start);
    if (from > 0 && bounds[from - 1] === start) from--;
    const to = this.#boundsUpTo(end);
    const fresh: number[] = [];
    if ((from % 2 === 1) !== inside) fresh.push(start);
    if ((to % 2 === 1) !== inside) fresh.push(end);
    if (to - from === fresh.length)
      for (const [i, bound] of fresh.entries()) bounds[from + i] = bound;
    else bounds.splice(from, to - from, ...fresh);
    this.#count += (inside ? end - start : 0) - before;
  }
}
