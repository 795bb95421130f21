interface Claim {
  readonly start: number;
  readonly end: number;
  /** Resolves when the claim is given back. */
  readonly done: Promise<void>;
}

/**
 * Ranges that are in use by one change at a time. Overlapping claims are granted in the order in
 * which they were made.
 */
export class RangeLock {
  private claims: Claim[] = [];

  /** Waits until nothing that was claimed before overlaps [start, end); returns the release. */
  async claim(start: number, end: number): Promise<() => void> {
    const before = this.claims.filter((other) => other.start < end && start < other.end);
    const { promise, resolve } = Promise.withResolvers<void>();
    const claim: Claim = { start, end, done: promise };
    this.claims.push(claim);
    await Promise.all(before.map(({ done }) => done));
    return () => {
      this.claims = this.claims.filter((other) => other !== claim);
      resolve();
    };
  }
}
