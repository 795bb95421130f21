import { guest } from "../bytes/index.ts";
import { throwIfAborted } from "../errors.ts";
import type { Disk } from "./disk.ts";
import { HostState, type HostAllocation } from "./host-allocation.ts";
import { Kind, Runs, nowhere } from "./mapping.ts";

/**
 * What a guest byte is in one image, by the image's mapping and the host together. Images behind it
 * do not count.
 */
export const Place = {
  /** The image has no place for it. */
  none: 0,
  /** Marked as zeros, without a place. */
  zero: 1,
  /** It has a place, and that is a hole of the file. */
  hole: 2,
  /** It has a place that the host has reserved, and reads as zeros. */
  reserved: 3,
  /** It has a place that has been written. */
  written: 4,
  /** It is in a compressed cluster. */
  compressed: 5,
  /** It has a place, of which the host tells nothing. */
  unknown: 6,
} as const;

/** A value of {@link Place}. */
export type Place = (typeof Place)[keyof typeof Place];

/** Names of the places, by number. */
export const placeNames = [
  "none",
  "zero",
  "hole",
  "reserved",
  "written",
  "compressed",
  "unknown",
] as const;

/** Receives the disk from its start to its end, in pieces that have one place each. */
export type EachPlace = (place: Place, start: number, length: number) => void;

const ofState: Readonly<Record<HostState, Place>> = {
  [HostState.hole]: Place.hole,
  [HostState.reserved]: Place.reserved,
  [HostState.written]: Place.written,
  [HostState.unknown]: Place.unknown,
};

/**
 * Goes through the guest's disk as the top image has it, telling for each piece what it is. Throws
 * what reading the tables throws, and `E_ABORTED`.
 */
export async function walkPlaces(
  disk: Disk,
  allocation: HostAllocation,
  piece: EachPlace,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const end = guest(disk.size);
  // Of a file for the data alone the host was not asked.
  const isElsewhere = disk.image.dataStorage !== undefined;
  const runs = new Runs();
  for (let at = guest(0); at < end;) {
    throwIfAborted(options.signal);
    runs.clear();
    const mapped = await disk.mapSome(at, end, runs);
    for (let i = 0; i < runs.count; i++) {
      const start = Math.max(runs.guest[i]!, at);
      const length = Math.min(runs.guest[i]! + runs.length[i]!, mapped) - start;
      const kind = runs.kind[i];
      if (kind === Kind.compressed) piece(Place.compressed, start, length);
      else if (runs.host[i] === nowhere) {
        piece(kind === Kind.unallocated ? Place.none : Place.zero, start, length);
      } else if (isElsewhere) {
        piece(kind === Kind.zero ? Place.reserved : Place.unknown, start, length);
      } else {
        const host = runs.hostOf(i, guest(start));
        allocation.each(host, length, (state, offset, size) => {
          // What is marked as zeros has not been written, whatever lies in its place.
          const isUsed = kind !== Kind.zero || state !== HostState.written;
          const place = isUsed ? ofState[state] : Place.reserved;
          // Where the file is the disk, a hole is no place that somebody has prepared.
          const isBare = place === Place.hole && disk.image.isTransparent === true;
          piece(isBare ? Place.none : place, start + (offset - host), size);
        });
      }
    }
    at = mapped;
  }
}

/** Bytes of the guest's disk by place; they add up to its size. */
export type PlaceTotals = Readonly<Record<(typeof placeNames)[number], number>>;

/** What {@link placeTotals} finds. */
export interface PlaceSums {
  readonly places: PlaceTotals;
  /**
   * Bytes of `places.reserved` in clusters that have been written in part: whoever writes has the host make
   * zeros of the rest of a cluster, so nobody has reserved them for later.
   */
  readonly besideWritten: number;
}

/** Sums up {@link walkPlaces}. Decides about the holes of `allocation` on the way. */
export async function placeTotals(
  disk: Disk,
  allocation: HostAllocation,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<PlaceSums> {
  let sums = new Sums(disk.image.clusterSize);
  const add: EachPlace = (place, start, length) => sums.add(place, start, length);
  await walkPlaces(disk, allocation, add, options);
  const isBare = disk.image.isTransparent === true;
  if (allocation.judgeHoles(sums.totals[isBare ? Place.none : Place.hole]!)) {
    sums = new Sums(disk.image.clusterSize);
    await walkPlaces(disk, allocation, add, options);
  }
  return sums.finish();
}

/** Adds up places in guest order. */
class Sums {
  readonly totals = new Float64Array(placeNames.length);
  private readonly clusterSize: number;
  private cluster = -1;
  private reserved = 0;
  private isWritten = false;
  private beside = 0;

  constructor(clusterSize: number) {
    this.clusterSize = clusterSize;
  }

  add(place: Place, start: number, length: number): void {
    this.totals[place]! += length;
    const { clusterSize } = this;
    // Only the first and the last cluster of a piece have others beside it.
    const first = Math.floor(start / clusterSize);
    const last = Math.floor((start + length - 1) / clusterSize);
    this.note(first, place, Math.min(length, (first + 1) * clusterSize - start));
    if (last !== this.cluster) this.note(last, place, start + length - last * clusterSize);
  }

  finish(): PlaceSums {
    this.note(-1, Place.none, 0);
    const entries = placeNames.map((name, place) => [name, this.totals[place]!]);
    return { places: Object.fromEntries(entries) as PlaceTotals, besideWritten: this.beside };
  }

  private note(cluster: number, place: Place, length: number): void {
    if (cluster !== this.cluster) {
      if (this.isWritten) this.beside += this.reserved;
      this.cluster = cluster;
      this.reserved = 0;
      this.isWritten = false;
    }
    if (place === Place.written) this.isWritten = true;
    else if (place === Place.reserved) this.reserved += length;
  }
}
