import type { Change } from "./image.ts";

/**
 * A write that has been begun: its places are taken and its data is on the way. It owns its clusters
 * until it is finished or given up; a write to one of them waits for that.
 */
export interface PendingWrite {
  /** Waits until the data is down and makes it visible. When that fails, everything is given back. */
  finish(): Promise<void>;
  /** Waits until nothing is under way any more and gives everything back. */
  giveUp(): Promise<void>;
}

/** A change and the data for it, which `written` waits for. */
export class PendingChange implements PendingWrite {
  private readonly changes: readonly Change[];
  private readonly written: Promise<unknown>;
  private readonly beforeCommit: () => void;

  constructor(changes: readonly Change[], written: Promise<unknown>, beforeCommit: () => void) {
    this.changes = changes;
    this.written = written;
    this.beforeCommit = beforeCommit;
    // It is looked at when the turn comes.
    written.catch(() => undefined);
  }

  async finish(): Promise<void> {
    try {
      await this.written;
    } catch (error) {
      await this.abort(0);
      throw error;
    }
    this.beforeCommit();
    for (const [i, change] of this.changes.entries()) {
      try {
        await change.commit();
      } catch (error) {
        await this.abort(i + 1);
        throw error;
      }
    }
  }

  async giveUp(): Promise<void> {
    await this.written.catch(() => undefined);
    await this.abort(0);
  }

  private async abort(from: number): Promise<void> {
    for (const change of this.changes.slice(from)) await change.abort();
  }
}

/** A write to where the data has been before: there is nothing to make visible. */
export class PendingOverwrite implements PendingWrite {
  private readonly written: Promise<void>;

  /** `release` is called when the data is down: the place must stay what it is until then. */
  constructor(written: Promise<void>, release: (() => void) | undefined) {
    this.written = written.finally(release);
    this.written.catch(() => undefined);
  }

  finish(): Promise<void> {
    return this.written;
  }

  async giveUp(): Promise<void> {
    await this.written.catch(() => undefined);
  }
}
