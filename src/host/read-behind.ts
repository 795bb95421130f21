const MiB = 2 ** 20;

/** Reads as long as this are those of somebody who goes through a file. */
const longRead = MiB / 4;
/** What lies so far behind the last read is not asked for again. */
const lag = 32 * MiB;
/** Bytes that are let go at once. */
const step = 64 * MiB;

/**
 * Lets go of what has been read of a file that does not fit in memory: going through it once would push
 * everything else out of the page cache, and leave nothing there for the next time either. Whoever jumps about in
 * the file, or reads little pieces, keeps what he has.
 */
export class ReadBehind {
  private readonly drop: (offset: number, length: number) => void;
  private start = 0;
  private end = 0;
  private isOff = false;

  /** `drop` tells the system that a range is not needed any more. */
  constructor(drop: (offset: number, length: number) => void) {
    this.drop = drop;
  }

  /** Takes note of a read that is done. */
  note(offset: number, length: number): void {
    if (this.isOff || length < longRead) return;
    if (offset < this.start) {
      // It is read once more.
      this.isOff = true;
      return;
    }
    this.end = Math.max(this.end, offset + length);
    if (this.end - this.start < lag + step) return;
    this.drop(this.start, this.end - lag - this.start);
    this.start = this.end - lag;
  }
}
