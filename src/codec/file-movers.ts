/** Bytes of an open file, and where in a segment they belong. */
export interface FilePart {
  readonly descriptor: number;
  readonly offset: number;
  readonly length: number;
  /** Relative to the start of the segment. */
  readonly at: number;
}

/** A piece of work for a mover: the guest bytes [start, end). What none of the parts has is zeros. */
export interface FileSegment {
  readonly start: number;
  readonly end: number;
  readonly parts: readonly FilePart[];
}

/** Segments that are copied from files to a file. */
export interface FileMove {
  /** In guest order. */
  readonly segments: readonly FileSegment[];
  /** Runs of at least so many zeros are not stored, as `dataRuns` counts them. */
  readonly sparse: number;
  /** What is stored starts and ends at multiples of this, but for the end of a segment. */
  readonly unit: number;
  /** The descriptor of the file that is written. */
  readonly target: number;
  /**
   * Where the bytes go. `fixed`: those of guest offset g to `offset` + g. `next`: what is stored of the first
   * segment to `offset`, and everything else behind it in guest order, without gaps.
   */
  readonly placing: "fixed" | "next";
  readonly offset: number;
}

/** Guest bytes [start, end) that were stored. */
export interface StoredRun {
  readonly start: number;
  readonly end: number;
}

/** Why a move ended early. */
export interface MoveFailure {
  /** Which segment, by its index. */
  readonly segment: number;
  /** The part that could not be read; absent: writing failed. */
  readonly part?: number;
  /** Where in the target writing failed. */
  readonly offset?: number;
  /** What the system said, by its symbolic name; absent: the file ends after `count` bytes of the part. */
  readonly code?: string;
  readonly count?: number;
}

/** What came of a move: what was stored, in guest order, or why it ended. */
export type Moved =
  | { readonly stored: readonly StoredRun[]; readonly failure?: undefined }
  | { readonly stored?: undefined; readonly failure: MoveFailure };

/** What may be wanted of a move on the way. */
export interface MoveHooks {
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the number of segments that have been begun. */
  readonly onProgress?: ((segments: number) => void) | undefined;
}

/**
 * Threads that copy between open files by themselves: each reads a segment, looks for zeros and writes what is worth
 * storing while it is in the caches of its processor. Handed over are descriptors, offsets and lengths.
 */
export interface FileMovers {
  /** Throws `E_ABORTED`, and `E_IO` when a thread has ended. */
  move(move: FileMove, hooks: MoveHooks): Promise<Moved>;
  /** Ends the threads. */
  close(): Promise<void>;
}
