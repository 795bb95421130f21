import type { Storage } from "../storage/index.ts";

/** What the host has for bytes of a storage. `unknown`: it cannot tell. */
export const HostState = { hole: 0, reserved: 1, written: 2, unknown: 3 } as const;

/** A value of {@link HostState}. */
export type HostState = (typeof HostState)[keyof typeof HostState];

/** Receives a piece of a range and what the host has for it. */
export type EachState = (state: HostState, offset: number, length: number) => void;

/** A share of the holes that decides nothing. */
const noise = 0.01;

/**
 * What the host has allocated for a storage, for looking up any number of ranges. Memory follows the
 * number of extents of the file: 9 bytes each.
 *
 * Filesystems that list extents (ext4, XFS, btrfs) answer exactly. Others tell data from holes, and
 * how much is allocated in all; when that is more than the data, the holes must be reserved space.
 */
export class HostAllocation {
  /** Ends (exclusive) of the runs, rising; the first starts at 0. */
  private readonly ends: Float64Array;
  private readonly states: Uint8Array;
  /** Bytes that are allocated somewhere in the holes; 0 where extents were listed. */
  private readonly spare: number;
  /** What the holes are taken for. */
  private holes: HostState = HostState.hole;

  private constructor(ends: readonly number[], states: readonly number[], spare: number) {
    this.ends = Float64Array.from(ends);
    this.states = Uint8Array.from(states);
    this.spare = spare;
  }

  /** Asks the host about all of `storage`. What is written meanwhile may or may not be seen. */
  static async read(storage: Storage): Promise<HostAllocation> {
    return readExtents(storage) ?? (await readHoles(storage)) ?? new HostAllocation([], [], 0);
  }

  /**
   * Made from runs as they come, in order and without gaps; neighbours of one state are joined.
   * `spare` bytes are allocated in the holes, the host does not say where.
   */
  static from(runs: Iterable<readonly [state: HostState, end: number]>, spare = 0): HostAllocation {
    const ends: number[] = [];
    const states: number[] = [];
    for (const [state, end] of runs) {
      if (states.at(-1) === state) ends[ends.length - 1] = end;
      else {
        ends.push(end);
        states.push(state);
      }
    }
    return new HostAllocation(ends, states, spare);
  }

  /**
   * Decides what the holes are, given that `bytes` of them are places of guest data: reserved space
   * when there is enough of that for all of them. Returns whether they are something else from now
   * on than plain holes.
   */
  judgeHoles(bytes: number): boolean {
    if (this.spare > Math.max(bytes * noise, 65536)) {
      const isAll = this.spare >= bytes * (1 - noise);
      this.holes = isAll ? HostState.reserved : HostState.unknown;
    }
    return this.holes !== HostState.hole;
  }

  /** Whether the host tells anything at all. */
  get isKnown(): boolean {
    return this.ends.length > 0;
  }

  /** Cuts [offset, offset + length) where the state changes. Past the end of the file are holes. */
  each(offset: number, length: number, piece: EachState): void {
    if (!this.isKnown) return piece(HostState.unknown, offset, length);
    const end = offset + length;
    let at = offset;
    for (let i = this.runAt(at); at < end; i++) {
      const stop = Math.min(end, this.ends[i] ?? end);
      const state = (this.states[i] ?? HostState.hole) as HostState;
      if (stop > at) piece(state === HostState.hole ? this.holes : state, at, stop - at);
      at = stop;
    }
  }

  /** Index of the run that `offset` is in. */
  private runAt(offset: number): number {
    let low = 0;
    let high = this.ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.ends[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const stateOf = {
  hole: HostState.hole,
  unwritten: HostState.reserved,
  written: HostState.written,
} as const;

function readExtents(storage: Storage): HostAllocation | undefined {
  let reserved = false;
  function* runs(settled: boolean): Generator<readonly [HostState, number]> {
    for (const { kind, offset, length } of storage.hostExtents!(0, storage.size, { settled })!) {
      reserved ||= kind === "unwritten";
      yield [stateOf[kind], offset + length];
    }
  }
  if (storage.hostExtents?.(0, 1) === undefined) return undefined;
  const found = HostAllocation.from(runs(false));
  // Data on its way to reserved space passes for unwritten until it has arrived there.
  return reserved ? HostAllocation.from(runs(true)) : found;
}

async function readHoles(storage: Storage): Promise<HostAllocation | undefined> {
  const allocated = await storage.allocatedBytes?.();
  if (storage.extent === undefined || allocated === undefined) return undefined;
  const { size } = storage;
  let data = 0;
  const runs: Array<[HostState, number]> = [];
  for (let at = 0; at < size;) {
    const found = storage.extent(at);
    if (found === undefined) return undefined;
    const end = Math.min(size, found.end);
    if (found.data) data += end - at;
    runs.push([found.data ? HostState.written : HostState.hole, end]);
    at = end;
  }
  return HostAllocation.from(runs, Math.max(0, allocated - data));
}
