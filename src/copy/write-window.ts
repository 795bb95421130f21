import { alignDown, alignUp } from "../bytes/index.ts";
import type { Disk, PendingWrite } from "../disk/index.ts";
import { inQemuWords } from "../errors.ts";
import type { Storage } from "../storage/index.ts";

/** Writes that belong together, and what to do when they are done. */
interface Group {
  readonly writes: readonly PendingWrite[];
  /** What QEMU says in front of its words for an error. */
  readonly words: string;
  readonly whenDone: () => void;
}

/**
 * Writes to a disk in guest order, several at the same time. Places are taken in that order, and each
 * write is made visible after those before it, always after the same number of others has been begun: so
 * the image gets the same bytes however long each takes.
 */
export class WriteWindow {
  private readonly disk: Disk;
  private readonly depth: number;
  private readonly groups: Group[] = [];
  private current: PendingWrite[] = [];
  /** What QEMU says in front of its words for an error of the group that is being begun. */
  private words = "";
  /** End of the clusters that writes under way own. */
  private owned = 0;

  /** `depth`: how many groups of writes may be under way besides the one that is being begun. */
  constructor(disk: Disk, depth: number) {
    this.disk = disk;
    this.depth = depth;
  }

  /** Begins to write `from` at `at`, which is behind everything written before. */
  async write(at: number, from: Uint8Array): Promise<void> {
    for (let done = 0; done < from.length;) {
      await this.passClusterOf(at + done);
      const { end, pending } = await inQemuWords(this.words, () =>
        this.disk.beginWrite(at + done, from.subarray(done)),
      );
      this.current.push(pending);
      this.own(end);
      done = end - at;
    }
  }

  /** Begins to share `length` bytes at `at`: see {@link Disk.beginShared}. False where that cannot be. */
  async share(at: number, length: number, from: Storage, fromOffset: number): Promise<boolean> {
    for (let done = 0; done < length;) {
      await this.passClusterOf(at + done);
      const begun = await inQemuWords(this.words, () =>
        this.disk.beginShared(at + done, length - done, from, fromOffset + done),
      );
      if (begun === undefined) return false;
      this.current.push(begun.pending);
      this.own(begun.end);
      done = begun.end - at;
    }
    return true;
  }

  /** As {@link WriteWindow.write}, of packed clusters: see {@link Disk.beginPacked}. */
  async writePacked(
    at: readonly number[],
    lengths: readonly number[],
    packed: Uint8Array,
  ): Promise<void> {
    await this.passClusterOf(at[0]!);
    const begin = () => this.disk.beginPacked(at, lengths, packed);
    this.current.push(await inQemuWords(this.words, begin));
    this.own(at.at(-1)! + 1);
  }

  /** Makes a range read as zeros. */
  async writeZeroes(at: number, length: number): Promise<void> {
    await this.passClusterOf(at);
    await inQemuWords(this.words, () => this.disk.writeZeroes(at, length));
  }

  /**
   * What `task` begins to write is a group; `whenDone` is called when it has been written. `words` are what
   * QEMU says in front of its words for an error.
   */
  async group(words: string, task: () => Promise<void>, whenDone: () => void): Promise<void> {
    this.words = words;
    await task();
    this.groups.push({ writes: this.current, words, whenDone });
    this.current = [];
    while (this.groups.length > this.depth) await this.finishOldest();
  }

  /** Waits for all that has been begun. */
  async settle(): Promise<void> {
    while (this.groups.length > 0) await this.finishOldest();
    const { current } = this;
    this.current = [];
    await finish(current, this.words);
    this.owned = 0;
  }

  /** Waits for all that has been begun, and until it is on stable storage. */
  async flush(): Promise<void> {
    await this.settle();
    await inQemuWords(this.words, () => this.disk.flush());
  }

  /** Takes back what has been begun and is not visible yet. */
  async giveUp(): Promise<void> {
    const writes = [...this.groups.flatMap((group) => group.writes), ...this.current];
    this.groups.length = 0;
    this.current = [];
    for (const write of writes) await write.giveUp();
  }

  private async finishOldest(): Promise<void> {
    const { writes, words, whenDone } = this.groups.shift()!;
    await finish(writes, words);
    whenDone();
  }

  /** A cluster that a write under way owns has to be free before another one can have it. */
  private async passClusterOf(at: number): Promise<void> {
    if (alignDown(at, this.disk.image.clusterSize) < this.owned) await this.settle();
  }

  private own(end: number): void {
    this.owned = alignUp(end, this.disk.image.clusterSize);
  }
}

/** Finishes the writes in order; after one that fails, the others are given up. */
async function finish(writes: readonly PendingWrite[], words: string): Promise<void> {
  for (const [i, write] of writes.entries()) {
    try {
      await inQemuWords(words, () => write.finish());
    } catch (error) {
      for (const other of writes.slice(i + 1)) await other.giveUp();
      throw error;
    }
  }
}
