/** A persistent dirty bitmap: which parts of the disk were changed since somebody last looked. */
export interface BitmapInfo {
  readonly name: string;
  /** Bytes of the guest's disk that one bit stands for: a power of two. */
  readonly granularity: number;
  /** Writes set bits in it. */
  readonly enabled: boolean;
  /**
   * A program that was changing the disk ended without storing it, so that nobody knows what is
   * missing in it. It can only be removed.
   */
  readonly inconsistent: boolean;
}

/** A range of guest bytes that a bitmap says has changed; whole bits of it, cut at the disk's end. */
export interface DirtyRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The persistent dirty bitmaps of an image (qcow2 specification, "Bitmaps extension").
 *
 * While an image is open for writing, its bitmaps are in memory and marked "in use" in the file, as
 * QEMU has it: guest writes set bits, the verbs here change bits and properties, and closing the disk
 * stores everything. A process that ends before that leaves inconsistent bitmaps.
 *
 * Verbs throw `E_BITMAP_NOT_FOUND`, `E_BITMAP_INCONSISTENT`, and on an image that is open for reading
 * `E_READ_ONLY`.
 */
export interface Bitmaps {
  /** Size of the disk that the bitmaps describe. */
  readonly size: number;
  /** All bitmaps, in the order of the file, then those that are new. */
  list(): BitmapInfo[];
  /** What a bitmap says has changed, in ascending order, without gaps of zero bytes. */
  dirty(name: string): AsyncIterable<DirtyRange>;
  /**
   * Adds an empty, enabled bitmap. `granularity` is a power of two from 512 to 2 GiB; default the
   * cluster size, but from 4 to 64 KiB. Throws `E_EXISTS`, `E_INVALID_ARGUMENT`, `E_LIMIT`,
   * `E_UNSUPPORTED` (version 2 images).
   */
  add(name: string, options?: { readonly granularity?: number }): void;
  /** Removes a bitmap, at once also from the file. */
  remove(name: string): Promise<void>;
  /** Says that nothing has changed. */
  clear(name: string): void;
  /** Has writes set bits from now on, or no longer. */
  enable(name: string, enabled: boolean): void;
  /**
   * Adds to a bitmap what bitmap `source`, of the same or of another image, says has changed;
   * granularities may differ, sizes may not (`E_INVALID_ARGUMENT`).
   */
  merge(name: string, source: string, from?: Bitmaps): Promise<void>;
}
