import { FilterStorage, type StorageCall, type WritableStorage } from "../storage/index.ts";

/** A storage whose calls take their time, differently each time, and that survives being closed. */
export class JitterStorage extends FilterStorage {
  private state: number;

  declare readonly write: WritableStorage["write"];
  declare readonly flush: WritableStorage["flush"];

  constructor(inner: WritableStorage, seed: number) {
    super(inner);
    this.state = seed;
  }

  override close(): Promise<void> {
    return Promise.resolve();
  }

  protected override async around<T>(_call: StorageCall, run: () => Promise<T>): Promise<T> {
    await this.delay();
    const result = await run();
    await this.delay();
    return result;
  }

  protected override aroundSync<T>(_call: StorageCall, run: () => T): T {
    return run();
  }

  private async delay(): Promise<void> {
    if (this.state === 0) return;
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    const ticks = [0, 1, 3, 10, 30, 100][this.state % 6]!;
    for (let i = 0; i < ticks; i++) await Promise.resolve();
  }
}
