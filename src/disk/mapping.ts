/**
 * The answer to "where is guest byte X, and for how long does that answer hold".
 *
 * Answers go into arrays that the caller owns and reuses, one element a run, so that mapping a
 * terabyte allocates nothing.
 */

import type { GuestOffset, HostOffset } from "../bytes/index.ts";

/** What a run of guest bytes is. */
export const Kind = {
  /**
   * Not in this image: ask the backing disk; zeros where there is none. `host` is a preallocated place
   * for it, or {@link nowhere}.
   */
  unallocated: 0,
  /** Reads as zeros. `host` is a preallocated place for it, or {@link nowhere}. */
  zero: 1,
  /** Plain bytes at `host`. */
  data: 2,
  /** One compressed cluster: `hostLength` packed bytes at `host`. A run covers exactly that cluster. */
  compressed: 3,
} as const;

/** A value of {@link Kind}. */
export type Kind = (typeof Kind)[keyof typeof Kind];

/** `host` of a run that has no place in the storage. */
export const nowhere = -1 as HostOffset;

/** A fixed number of runs, filled by {@link Mapping.map}. */
export class Runs {
  /** How many runs the last call filled in. */
  count = 0;
  readonly kind: Uint8Array;
  /** Guest offset at which the run starts. */
  readonly guest: Float64Array;
  /** Guest bytes covered. */
  readonly length: Float64Array;
  /** Storage offset of the run's first byte, or {@link nowhere}. */
  readonly host: Float64Array;
  /** Packed bytes at `host` (compressed runs only). */
  readonly hostLength: Float64Array;
  /** 1 where data may be overwritten where it is; 0 where a write needs a change. */
  readonly inPlace: Uint8Array;

  readonly capacity: number;

  constructor(capacity = 512) {
    this.capacity = capacity;
    this.kind = new Uint8Array(capacity);
    this.guest = new Float64Array(capacity);
    this.length = new Float64Array(capacity);
    this.host = new Float64Array(capacity);
    this.hostLength = new Float64Array(capacity);
    this.inPlace = new Uint8Array(capacity);
  }

  /** Guest offset of run `i`. */
  guestAt(i: number): GuestOffset {
    return this.guest[i]! as GuestOffset;
  }

  /** Storage offset of guest byte `at`, which is in run `i`; for runs that have a place. */
  hostOf(i: number, at: GuestOffset): HostOffset {
    return (this.host[i]! + (at - this.guest[i]!)) as HostOffset;
  }

  /** Makes the last run, which is not compressed, `length` bytes longer. */
  lengthen(length: number): void {
    this.length[this.count - 1]! += length;
  }

  /** Forgets all runs. */
  clear(): void {
    this.count = 0;
  }

  /**
   * Adds a run, or lengthens the last one when this one continues it in the guest and in the
   * storage. Returns false, adding nothing, when there is no room.
   */
  add(
    kind: Kind,
    guest: GuestOffset,
    length: number,
    host: HostOffset = nowhere,
    inPlace = false,
    hostLength = 0,
  ): boolean {
    const last = this.count - 1;
    const flag = inPlace ? 1 : 0;
    if (
      last >= 0 &&
      kind !== Kind.compressed &&
      this.kind[last] === kind &&
      this.inPlace[last] === flag &&
      (host === nowhere
        ? this.host[last] === nowhere
        : this.host[last] !== nowhere && this.host[last]! + this.length[last]! === host)
    ) {
      this.length[last]! += length;
      return true;
    }
    if (this.count === this.capacity) return false;
    const at = this.count++;
    this.kind[at] = kind;
    this.guest[at] = guest;
    this.length[at] = length;
    this.host[at] = host;
    this.hostLength[at] = hostLength;
    this.inPlace[at] = flag;
    return true;
  }
}

/** Runs that are used again: making them takes longer than most answers. */
export class SpareRuns {
  private readonly spare: Runs[] = [];
  private readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** Empty runs. */
  take(): Runs {
    return this.spare.pop() ?? new Runs(this.capacity);
  }

  /** Takes back what nobody uses any more. */
  give(runs: Runs): void {
    runs.clear();
    this.spare.push(runs);
  }
}

/** The read side of an image: where guest bytes are. */
export interface Mapping {
  /**
   * Fills `into` with the runs from `at` on and returns the guest offset up to which they answer:
   * `end`, or less when `into` is full or a table is not in memory. If nothing could be answered
   * (the result is `at`), {@link Mapping.load} brings the table in.
   *
   * Synchronous. The answer holds until the caller awaits something, unless it holds a lease.
   */
  map(at: GuestOffset, end: GuestOffset, into: Runs): GuestOffset;
  /**
   * Reads the table that is needed to map `at`. Throws when `at` cannot be mapped whatever is read, unless
   * it is `forChange`: a change may replace what is wrong.
   */
  load(at: GuestOffset, forChange?: boolean): Promise<void>;
}
