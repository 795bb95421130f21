/** A range that is in use by one change. */
export interface Claim {
  /** Gives the range back. */
  readonly release: () => void;
  /** Keeps only what lies before `end`. */
  readonly narrow: (end: number) => void;
}

interface Held {
  readonly start: number;
  end: number;
  /** Resolves when the range becomes shorter or is given back. */
  changed: PromiseWithResolvers<void>;
}

/**
 * Ranges that are in use by one change at a time. Overlapping claims are granted in the order in
 * which they were made.
 */
export class RangeLock {
  /** In the order in which they were made, those that wait included. */
  private claims: Held[] = [];

  /** Waits until nothing that was claimed before overlaps [start, end). */
  async claim(start: number, end: number): Promise<Claim> {
    const held: Held = { start, end, changed: Promise.withResolvers<void>() };
    this.claims.push(held);
    for (;;) {
      const before = this.claims.find(
        (other) => other === held || (other.start < end && start < other.end),
      );
      if (before === undefined || before === held) break;
      await before.changed.promise;
    }
    return {
      release: () => {
        this.claims = this.claims.filter((other) => other !== held);
        held.changed.resolve();
      },
      narrow: (to) => {
        held.end = Math.min(held.end, to);
        const { changed } = held;
        held.changed = Promise.withResolvers<void>();
        changed.resolve();
      },
    };
  }
}
