/**
 * Counts readers that rely on a mapping while they wait for I/O, so that the clusters an older
 * mapping named are not reused under them.
 */
export class Leases {
  private generation = { readers: 0 };
  /** Generations that may still have readers, oldest first. */
  private open = [this.generation];

  /** A reader starts; call the result when it is done. */
  take(): () => void {
    const { generation } = this;
    generation.readers++;
    return () => {
      generation.readers--;
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
}
