import { guest } from "../bytes/index.ts";
import type { FileMove, FileMovers, FileSegment, MoveFailure, StoredRun } from "../codec/index.ts";
import type { Disk, Gatherer, Located, Places } from "../disk/index.ts";
import { inQemuWords } from "../errors.ts";
import type { OpenDescriptor } from "../storage/index.ts";
import type { CopyWords } from "./copy.ts";
import type { Segment } from "./plan.ts";
import type { CopySource } from "./source.ts";

/** So many bytes of data, and so many segments, are handed to movers at once. */
const batchBytes = 128 * 1024 * 1024;
const batchSegments = 1024;

/** A segment whose bytes lie in open files, as they are. */
interface FoundSegment {
  readonly segment: Segment;
  /** Absent: it is all zeros. */
  readonly located: Located | undefined;
}

/** Segments in guest order that movers can copy by themselves. */
export interface Batch {
  readonly found: readonly FoundSegment[];
  /** Their bytes need not stay where they are any more. */
  readonly release: () => void;
}

/** The same segments, with those that movers can copy in batches. Those that are zeros come with their neighbours. */
export async function* batched(
  segments: AsyncIterable<Segment>,
  source: CopySource,
  gatherer: Gatherer,
): AsyncGenerator<Segment | Batch> {
  let found: FoundSegment[] = [];
  let bytes = 0;
  function* flush(): Generator<Batch> {
    if (found.length > 0) yield asBatch(found);
    found = [];
    bytes = 0;
  }
  try {
    for await (const segment of segments) {
      if (segment.pieces.length > 0) {
        const located = await locate(segment, source, gatherer);
        if (located === undefined) {
          yield* flush();
          yield segment;
          continue;
        }
        found.push({ segment, located });
        bytes += segment.end - segment.start;
      } else {
        found.push({ segment, located: undefined });
      }
      if (bytes >= batchBytes || found.length >= batchSegments) yield* flush();
    }
    yield* flush();
  } finally {
    asBatch(found).release();
  }
}

const asBatch = (found: readonly FoundSegment[]): Batch => ({
  found,
  release: () => found.forEach(({ located }) => located?.release()),
});

/** Where the bytes of a segment lie, if that is in files that movers reach. */
async function locate(
  segment: Segment,
  source: CopySource,
  gatherer: Gatherer,
): Promise<Located | undefined> {
  const located = await source.locate?.(gatherer, segment.pieces);
  if (located?.pieces.every(({ disk }) => disk.data.storage.descriptor !== undefined) !== false) {
    return located;
  }
  located.release();
  return undefined;
}

/** What carrying a batch needs to know of the copy. */
export interface Carrying {
  readonly target: Disk;
  readonly movers: FileMovers;
  /** As for {@link FileMove}. */
  readonly sparse: number;
  readonly unit: number;
  readonly words: CopyWords;
  readonly signal: AbortSignal | undefined;
  readonly onDone: (end: number) => void;
  /** Copies a segment for which there is no place that movers could be told. */
  readonly alone: (segment: Segment) => Promise<void>;
}

/** Has movers copy a batch to an empty target, where places can be given to many segments at once. */
export async function carryBatch({ found }: Batch, carrying: Carrying): Promise<void> {
  const { target, alone, onDone } = carrying;
  const last = found.at(-1)!.segment.end;
  for (let i = 0; i < found.length;) {
    const { segment, located } = found[i]!;
    if (located === undefined) {
      i++;
      continue;
    }
    const most = found
      .slice(i)
      .reduce(
        (sum, { segment: { start, end, pieces } }) => sum + (pieces.length > 0 ? end - start : 0),
        0,
      );
    const places = await inQemuWords(carrying.words("writing", segment.start), () =>
      target.placesFor(segment.start, last, most),
    );
    const count = places === undefined ? 0 : countUpTo(found, i, places.end);
    if (places === undefined || count === 0) {
      await places?.abort();
      await alone(segment);
      i++;
    } else {
      await carryTo(places, found.slice(i, i + count), carrying);
      i += count;
    }
    onDone(found[i - 1]!.segment.end);
  }
}

/** How many of the segments from number `first` on end at or before `end`. */
function countUpTo(found: readonly FoundSegment[], first: number, end: number): number {
  let count = 0;
  while ((found[first + count]?.segment.end ?? Infinity) <= end) count++;
  return count;
}

/** Has movers copy segments to their places. */
async function carryTo(
  places: Places,
  found: readonly FoundSegment[],
  { target, movers, sparse, unit, words, signal, onDone }: Carrying,
): Promise<void> {
  const { descriptor } = target.data.storage;
  const first = found[0]!.segment;
  const move: FileMove = {
    segments: found.map(fileSegment),
    sparse,
    unit,
    target: descriptor!.number,
    placing: places.placing,
    offset: places.placing === "fixed" ? places.host - first.start : places.host,
  };
  const files = filesOf(found);
  const releases = [descriptor!, ...files.keys()].map((used) => used.hold());
  const begun = (count: number): void => onDone(found[count - 1]?.segment.end ?? first.start);
  let stored: readonly StoredRun[] = [];
  try {
    const moved = await movers.move(move, { signal, onProgress: begun });
    if (moved.failure !== undefined) await fail(moved.failure, found, target, words);
    else ({ stored } = moved);
    await refuseCut(files, words);
  } catch (error) {
    await places.abort();
    throw error;
  } finally {
    for (const release of releases) release();
    descriptor!.hasWritten();
  }
  await inQemuWords(words("writing", first.start), () =>
    places.commit(stored.map(({ start, end }) => ({ start: guest(start), end: guest(end) }))),
  );
}

function fileSegment({ segment: { start, end }, located }: FoundSegment): FileSegment {
  const parts = (located?.pieces ?? []).map(({ at, length, disk, offset }) => ({
    descriptor: disk.data.storage.descriptor!.number,
    offset,
    length,
    at: at - start,
  }));
  return { start, end, parts };
}

/** A file that is read: from which offset on, up to which, and for which segment last. */
interface ReadFile {
  start: number;
  end: number;
  segment: Segment;
}

/** The files that are read. */
function filesOf(found: readonly FoundSegment[]): ReadonlyMap<OpenDescriptor, ReadFile> {
  const files = new Map<OpenDescriptor, ReadFile>();
  for (const { segment, located } of found) {
    for (const { disk, offset, length } of located?.pieces ?? []) {
      const descriptor = disk.data.storage.descriptor!;
      const file = files.get(descriptor) ?? { start: offset, end: 0, segment };
      files.set(descriptor, file);
      file.start = Math.min(file.start, offset);
      if (offset + length > file.end) Object.assign(file, { end: offset + length, segment });
    }
  }
  return files;
}

/** Throws `E_TRUNCATED` when a file that has been read has been cut short meanwhile. */
async function refuseCut(
  files: ReadonlyMap<OpenDescriptor, ReadFile>,
  words: CopyWords,
): Promise<void> {
  for (const [descriptor, { start, end, segment }] of files) {
    await inQemuWords(words("reading", segment.start), async () =>
      descriptor.hasRead(start, end - start, end - start),
    );
  }
}

/** Throws the error for a move that ended early. */
function fail(
  { segment: index, part, offset = 0, code, count = 0 }: MoveFailure,
  found: readonly FoundSegment[],
  target: Disk,
  words: CopyWords,
): Promise<never> {
  const { segment, located } = found[index]!;
  const doing = part === undefined ? "writing" : "reading";
  return inQemuWords(words(doing, segment.start), async () => {
    if (part === undefined) throw target.data.storage.descriptor!.error("write", offset, code!);
    const piece = located!.pieces[part]!;
    const { storage } = piece.disk.data;
    if (code !== undefined) throw storage.descriptor!.error("read", piece.offset, code);
    storage.descriptor!.hasRead(piece.offset, piece.length, count);
    throw piece.disk.data.truncated(piece.offset, piece.length, count);
  });
}
