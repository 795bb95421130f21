import {
  guest,
  lower,
  type Buffers,
  type Bytes,
  type GuestOffset,
  type HostOffset,
} from "../bytes/index.ts";
import type { CodecPool, PackedCluster } from "../codec/index.ts";
import type { Disk } from "./disk.ts";
import { Kind, SpareRuns, type Runs } from "./mapping.ts";

/** A range of guest bytes, `[start, end)`. */
export interface GuestRange {
  readonly start: number;
  readonly end: number;
}

/** Reads under way at the same time for one piece of work. */
const readsAtOnce = 16;

const spareRuns = new SpareRuns(64);

/** Guest bytes that can be read as they are. */
interface PlainPiece {
  readonly disk: Disk;
  readonly host: HostOffset;
  readonly at: GuestOffset;
  readonly into: Uint8Array;
}

/** A compressed cluster and where the wanted part of it goes. */
interface PackedPiece {
  readonly host: number;
  readonly length: number;
  readonly at: number;
  readonly start: number;
  readonly end: number;
}

/**
 * Reads many guest bytes at once, through the whole backing chain: what is compressed is read in large
 * pieces and unpacked by a {@link CodecPool}, several clusters in one job.
 */
export class Gatherer {
  private readonly pool: CodecPool;
  private readonly buffers: Buffers;

  constructor(pool: CodecPool, buffers: Buffers) {
    this.pool = pool;
    this.buffers = buffers;
  }

  /**
   * Fills `into` with guest bytes of `disk`, those from `at` on, as far as `ranges` say; the rest of it
   * stays as it is. `into` belongs to the gatherer until the result hands it back. Throws as
   * {@link Disk.read}.
   */
  async gather(disk: Disk, ranges: readonly GuestRange[], at: number, into: Bytes): Promise<Bytes> {
    const work = new Work(into.byteOffset);
    try {
      for (const { start, end } of ranges) {
        disk.checkRange(start, end - start);
        await work.collect(disk, guest(start), into.subarray(start - at, end - at));
      }
      await atOnce(work.plain, (piece) => piece.disk.data.read(piece.host, piece.at, piece.into));
      let filled = into;
      for (const [image, pieces] of work.packed) {
        filled = await this.unpack(image, pieces, filled);
      }
      return filled;
    } finally {
      for (const release of work.releases) release();
    }
  }

  /**
   * Where the bytes of `ranges` lie, in guest order, if all of them lie plainly in storages; undefined
   * otherwise. They stay there until `release` is called.
   */
  async locate(disk: Disk, ranges: readonly GuestRange[]): Promise<Located | undefined> {
    const work = new Whereabouts();
    try {
      for (const { start, end } of ranges) {
        disk.checkRange(start, end - start);
        await work.collect(disk, guest(start), guest(end));
      }
    } catch (error) {
      work.release();
      throw error;
    }
    if (work.isPlain) return work;
    work.release();
    return undefined;
  }

  private async unpack(disk: Disk, pieces: PackedPiece[], data: Bytes): Promise<Bytes> {
    pieces.sort((a, b) => a.host - b.host);
    const { runs, total } = packedRuns(disk, pieces);
    const packed = this.buffers.take(total);
    await atOnce(runs, async ({ host, from, length }) => {
      const count = await disk.image.storage.read(host, packed.subarray(from, from + length));
      if (count < length) throw disk.data.truncated(host, length, count);
    });
    const clusters = clustersIn(runs, pieces);
    const { type } = await disk.data.loadCodec(pieces[0]!.host);
    const { clusterSize } = disk.image;
    const result = await this.pool.unpack({ type, clusterSize, packed, data, clusters });
    this.buffers.give(result.packed);
    if (result.failure === undefined) return result.data;
    const { host, length } = pieces[result.failure.index]!;
    throw disk.data.damaged(host, length, result.failure.reason);
  }
}

/**
 * Calls `visit` for the runs of [at, end) in one image, with the part of each that is inside. What keeps them where
 * they are goes into `releases`.
 */
async function eachRun(
  disk: Disk,
  at: GuestOffset,
  end: GuestOffset,
  releases: Array<() => void>,
  visit: (runs: Runs, i: number, start: GuestOffset, stop: GuestOffset) => Promise<void>,
): Promise<void> {
  const runs = spareRuns.take();
  for (let position = at; position < end;) {
    runs.clear();
    // Taken before mapping: what the answer names must stay what it is until it has been read.
    const release = disk.image.lease?.();
    if (release !== undefined) releases.push(release);
    const mapped = await disk.mapSome(position, end, runs);
    for (let i = 0; i < runs.count; i++) {
      const start = guest(Math.max(runs.guest[i]!, position));
      const stop = guest(Math.min(runs.guest[i]! + runs.length[i]!, mapped));
      await visit(runs, i, start, stop);
    }
    position = mapped;
  }
  spareRuns.give(runs);
}

/** Guest bytes as they lie in a storage. */
export interface LocatedPiece {
  readonly at: number;
  readonly length: number;
  readonly disk: Disk;
  /** In the storage of guest data of that disk. */
  readonly offset: number;
}

/** See {@link Gatherer.locate}. */
export interface Located {
  readonly pieces: readonly LocatedPiece[];
  readonly release: () => void;
}

/** Finds plain bytes through the backing chain. */
class Whereabouts implements Located {
  readonly pieces: LocatedPiece[] = [];
  isPlain = true;
  private readonly releases: Array<() => void> = [];

  readonly release = (): void => {
    for (const release of this.releases.splice(0)) release();
  };

  async collect(disk: Disk, at: GuestOffset, end: GuestOffset): Promise<void> {
    const inside = lower(end, guest(disk.size));
    await eachRun(disk, at, inside, this.releases, async (runs, i, start, stop) => {
      if (this.isPlain) await this.collectRun(disk, runs, i, start, stop);
    });
  }

  private async collectRun(
    disk: Disk,
    runs: Runs,
    i: number,
    at: GuestOffset,
    end: GuestOffset,
  ): Promise<void> {
    const kind = runs.kind[i];
    if (kind === Kind.data && !disk.data.isEncrypted) {
      this.pieces.push({ at, length: end - at, disk, offset: runs.hostOf(i, at) });
    } else if (kind === Kind.unallocated && disk.backing !== undefined) {
      await this.collect(disk.backing, at, end);
    } else if (kind === Kind.data || kind === Kind.compressed) {
      this.isPlain = false;
    }
  }
}

/** What has to be read to answer, and what keeps it in its place meanwhile. */
class Work {
  readonly plain: PlainPiece[] = [];
  readonly packed = new Map<Disk, PackedPiece[]>();
  readonly releases: Array<() => void> = [];
  /** Where in its memory the buffer starts that is being filled. */
  private readonly base: number;

  constructor(base: number) {
    this.base = base;
  }

  /** Takes note of where the guest bytes from `at` on are, and fills in those that are zeros. */
  async collect(disk: Disk, at: GuestOffset, into: Uint8Array): Promise<void> {
    const inside = Math.max(0, Math.min(into.length, disk.size - at));
    into.fill(0, inside);
    const end = guest(at + inside);
    await eachRun(disk, at, end, this.releases, (runs, i, start, stop) =>
      this.collectRun(disk, runs, i, start, into.subarray(start - at, stop - at)),
    );
  }

  private async collectRun(
    disk: Disk,
    runs: Runs,
    i: number,
    start: GuestOffset,
    into: Uint8Array,
  ): Promise<void> {
    const kind = runs.kind[i];
    if (kind === Kind.data) {
      this.plain.push({ disk, host: runs.hostOf(i, start), at: start, into });
    } else if (kind === Kind.compressed) {
      const from = start - runs.guest[i]!;
      const pieces = this.packed.get(disk) ?? [];
      this.packed.set(disk, pieces);
      pieces.push({
        host: runs.host[i]!,
        length: runs.hostLength[i]!,
        at: into.byteOffset - this.base,
        start: from,
        end: from + into.length,
      });
    } else if (kind === Kind.unallocated && disk.backing !== undefined) {
      await this.collect(disk.backing, start, into);
    } else {
      into.fill(0);
    }
  }
}

/** A range of the storage that is read at once, and where in the buffer it goes. */
interface PackedRun {
  readonly host: number;
  readonly from: number;
  length: number;
}

/** What to read so that all of `pieces`, which are in order, are there. */
function packedRuns(
  disk: Disk,
  pieces: readonly PackedPiece[],
): { readonly runs: readonly PackedRun[]; readonly total: number } {
  const runs: PackedRun[] = [];
  let total = 0;
  for (const { host, length } of pieces) {
    const end = host + disk.data.packedInside(host, length);
    const last = runs.at(-1);
    // What lies between two clusters is read in vain: never more of it than of the clusters themselves.
    if (last === undefined || host - (last.host + last.length) > length) {
      runs.push({ host, from: total, length: end - host });
      total += end - host;
    } else {
      // The last sector of a packed cluster is often the first one of the next.
      const more = Math.max(0, end - (last.host + last.length));
      last.length += more;
      total += more;
    }
  }
  return { runs, total };
}

/** Where the packed clusters are in the buffer. */
function clustersIn(
  runs: readonly PackedRun[],
  pieces: readonly PackedPiece[],
): readonly PackedCluster[] {
  let at = 0;
  return pieces.map((piece) => {
    while (piece.host >= runs[at]!.host + runs[at]!.length) at++;
    const run = runs[at]!;
    const from = run.from + (piece.host - run.host);
    const length = Math.min(piece.length, run.from + run.length - from);
    return { from, length, at: piece.at, start: piece.start, end: piece.end };
  });
}

/** Calls `task` for each item, several at a time. Ends when none is under way any more. */
async function atOnce<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  for (let i = 0; i < items.length; i += readsAtOnce) {
    const results = await Promise.allSettled(items.slice(i, i + readsAtOnce).map(task));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }
}
