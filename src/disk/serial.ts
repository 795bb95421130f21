/** Runs asynchronous functions one after the other, in the order in which they were handed in. */
export class Serial {
  private last: Promise<unknown> = Promise.resolve();

  /** Runs `task` when everything before has ended; settles as `task` does. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.last.then(task, task);
    this.last = result.catch(() => undefined);
    return result;
  }
}
