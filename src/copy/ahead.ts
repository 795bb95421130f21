/** Does something for each item of a sequence, for several at a time, and gives the results in order. */
export class Ahead<Item, Result> {
  private readonly items: AsyncGenerator<Item>;
  private readonly task: (item: Item) => Promise<Result>;
  private readonly depth: number;
  private readonly running: Array<Promise<Result>> = [];
  private isAtEnd = false;

  /** `depth`: for how many items at the same time. */
  constructor(items: AsyncGenerator<Item>, task: (item: Item) => Promise<Result>, depth: number) {
    this.items = items;
    this.task = task;
    this.depth = depth;
  }

  /** The next result; undefined after the last. */
  async next(): Promise<Result | undefined> {
    while (!this.isAtEnd && this.running.length < this.depth) {
      const item = await this.items.next();
      if (item.done === true) {
        this.isAtEnd = true;
        break;
      }
      const running = this.task(item.value);
      // Its error is thrown when its turn comes, unless something else fails first.
      running.catch(() => undefined);
      this.running.push(running);
    }
    return this.running.shift();
  }

  /** Resolves when nothing is being done any more. */
  async close(): Promise<void> {
    await Promise.allSettled(this.running);
    await this.items.return(undefined);
  }
}
