/**
 * Counts readers that rely on a mapping while they wait for I/O, so that the clusters an older
 * mapping named are not reused under them.
 */
export class Leases {
  private generation = { readers: 0 };
  /** Generations that may still have readers, oldest first. */
  private open = [this.generation];
  private waiting: Array<{ readonly isDone: () => boolean; readonly wake: () => void }> = [];

  /** A reader starts; call the result when it is done. */
  take(): () => void {
    const { generation } = this;
    generation.readers++;
    return () => {
      generation.readers--;
      if (generation.readers > 0) return;
      const waiting = this.waiting.filter(({ isDone }) => isDone());
      this.waiting = this.waiting.filter(({ isDone }) => !isDone());
      for (const { wake } of waiting) wake();
    };
  }

  /**
   * The mapping has just changed: starts a new generation. The result tells whether all readers
   * that may have seen the old mapping are done.
   */
  advance(): () => boolean {
    this.open = this.open.filter(({ readers }) => readers > 0);
    const before = [...new Set([...this.open, this.generation])];
    this.generation = { readers: 0 };
    this.open.push(this.generation);
    return () => before.every(({ readers }) => readers === 0);
  }

  /** As {@link Leases.advance}; resolves when all those readers are done. */
  async drain(): Promise<void> {
    const isDone = this.advance();
    if (!isDone()) await new Promise<void>((wake) => this.waiting.push({ isDone, wake }));
  }
}
