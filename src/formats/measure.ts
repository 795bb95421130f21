import type { FormatOptionValues } from "./format.ts";

/** A run of guest bytes that a new image would have to store. */
export interface StoredRange {
  readonly start: number;
  readonly end: number;
}

/** What the image would be that is to be measured. */
export interface MeasureOptions {
  /** Size of the guest's disk in bytes. */
  readonly size: number;
  /** Values for the format's creation options; absent ones take their defaults. */
  readonly values?: FormatOptionValues;
  /** The new image gets a backing file: what it will share with it is not known. */
  readonly hasBacking?: boolean;
  /** Data of the disk that is to be copied, in guest order. Absent: an empty disk. */
  readonly data?: AsyncIterable<StoredRange>;
  /** Bytes that bitmaps of the source take in clusters of that size. Absent: it cannot have any. */
  readonly bitmapBytes?: ((clusterSize: number) => Promise<number>) | undefined;
}

/** How large an image file will be, in bytes. */
export interface Measurement {
  /** Right after it has been made. */
  readonly required: number;
  /** When the guest has written everything. */
  readonly fullyAllocated: number;
  /** What persistent bitmaps add; absent where source or target cannot have any. */
  readonly bitmaps?: number;
}
