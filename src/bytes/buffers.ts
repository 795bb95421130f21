/** Bytes that can be handed to another thread. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** The smallest buffer that is made. */
const smallest = 64 * 1024;

/** Unused buffers that are kept. */
const kept = 64;

/**
 * Large buffers that are used again: a new one costs the kernel a page fault for each of its pages, and
 * the collector does not hurry to give it back.
 */
export class Buffers {
  private readonly allocate: (length: number) => Bytes;
  private readonly spare: Bytes[] = [];

  /** `allocate` makes a buffer; any will do if absent. */
  constructor(allocate: (length: number) => Bytes = (length) => new Uint8Array(length)) {
    this.allocate = allocate;
  }

  /** A buffer of `length` bytes or more, with anything in it. */
  take(length: number): Bytes {
    const at = this.spare.findLastIndex((buffer) => buffer.length >= length);
    if (at >= 0) return this.spare.splice(at, 1)[0]!;
    return this.allocate(Math.max(smallest, 2 ** Math.ceil(Math.log2(length))));
  }

  /** Gives a buffer back that nobody uses any more. */
  give(buffer: Bytes): void {
    if (this.spare.length < kept) this.spare.push(buffer);
  }
}
