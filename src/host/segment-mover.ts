import { wideRuns, type Bytes } from "../bytes/index.ts";
import type { FileMove, FilePart, FileSegment, MoveFailure, StoredRun } from "../codec/index.ts";
import { pagesOf } from "./aligned.ts";
import { systemCode } from "./errors.ts";
import { readFullSync, writeFullSync } from "./positional.ts";

/** What the threads of a move share: 32-bit words in memory that all of them see. */
export const Word = {
  /** The segment that is begun next. */
  next: 0,
  /** The segment whose turn it is to be given its place. */
  turn: 1,
  /** Set when nobody is to go on. */
  stopped: 2,
} as const;

/** One float behind the words: bytes that have been given a place. */
const placedAt = 16;

/** Memory for the words of a move. */
export const newWords = (): SharedArrayBuffer => new SharedArrayBuffer(24);

/** Rounds of looking for one's turn before going to sleep: what the others do takes no longer. */
const looks = 2000;

/** Longest sleep in milliseconds before it is looked whether anybody is still there. */
const sleep = 5;

/** What was stored of a segment. */
export interface StoredSegment {
  readonly segment: number;
  readonly runs: readonly StoredRun[];
}

/** A segment that has been read and waits for its place. */
interface Loaded {
  readonly index: number;
  readonly runs: readonly StoredRun[];
}

/** What became of a step. */
export type Step = "moved" | "waiting" | "done";

const none: readonly StoredRun[] = [];

/**
 * The work of one of the threads of a move. Segments are taken by whoever is free; places are given in guest order,
 * so that they do not depend on who was faster.
 */
export class SegmentMover {
  readonly stored: StoredSegment[] = [];
  failure: MoveFailure | undefined;
  private readonly move: FileMove;
  private readonly words: Int32Array;
  private readonly placed: Float64Array;
  private readonly buffer: Bytes;
  private loaded: Loaded | undefined;

  /** `buffer` is as long as the longest segment. */
  constructor(move: FileMove, shared: SharedArrayBuffer, buffer: Bytes) {
    this.move = move;
    this.words = new Int32Array(shared, 0, placedAt / 4);
    this.placed = new Float64Array(shared, placedAt, 1);
    this.buffer = buffer;
  }

  /** Moves one segment, or waits a moment for its turn. */
  step(): Step {
    if (Atomics.load(this.words, Word.stopped) !== 0) return "done";
    try {
      this.loaded ??= this.load();
      if (this.loaded === undefined) return "done";
      return this.store(this.loaded);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.failure = error.failure;
      this.stop();
      return "done";
    }
  }

  /** Nobody goes on after this. */
  stop(): void {
    Atomics.store(this.words, Word.stopped, 1);
    Atomics.notify(this.words, Word.turn);
  }

  private load(): Loaded | undefined {
    const { segments, sparse, unit } = this.move;
    const index = Atomics.add(this.words, Word.next, 1);
    const segment = segments[index];
    if (segment === undefined) return undefined;
    if (segment.parts.length === 0) return { index, runs: none };
    const bytes = this.buffer.subarray(0, segment.end - segment.start);
    this.read(index, segment, bytes);
    const { start: at } = segment;
    const runs = Array.from(wideRuns(bytes, at, sparse, unit), ({ start, end }) => ({
      start: at + start,
      end: at + end,
    }));
    return { index, runs };
  }

  private read(index: number, { parts, end, start }: FileSegment, bytes: Bytes): void {
    let filled = 0;
    for (const [i, part] of parts.entries()) {
      bytes.fill(0, filled, part.at);
      filled = part.at + part.length;
      const count = this.readPart(index, i, part, bytes);
      if (count < part.length) throw new Failure({ segment: index, part: i, count });
    }
    bytes.fill(0, filled, end - start);
  }

  private readPart(
    segment: number,
    part: number,
    { descriptor, offset, length, at }: FilePart,
    bytes: Bytes,
  ): number {
    try {
      return readFullSync(descriptor, bytes.subarray(at, at + length), offset);
    } catch (error) {
      throw new Failure({ segment, part, code: systemCode(error) ?? "EIO" });
    }
  }

  private store({ index, runs }: Loaded): Step {
    const { placing, offset, segments } = this.move;
    const { start } = segments[index]!;
    let place = offset;
    if (placing === "next") {
      if (!this.isTurn(index)) return "waiting";
      place += this.placed[0]!;
      for (const run of runs) this.placed[0]! += run.end - run.start;
      Atomics.store(this.words, Word.turn, index + 1);
      Atomics.notify(this.words, Word.turn);
    }
    for (const run of runs) {
      const at = placing === "next" ? place : place + run.start;
      this.write(index, this.buffer.subarray(run.start - start, run.end - start), at);
      place += placing === "next" ? run.end - run.start : 0;
    }
    if (runs.length > 0) this.stored.push({ segment: index, runs });
    this.loaded = undefined;
    return "moved";
  }

  private write(segment: number, bytes: Uint8Array, offset: number): void {
    try {
      writeFullSync(this.move.target, bytes, offset);
    } catch (error) {
      throw new Failure({ segment, offset, code: systemCode(error) ?? "EIO" });
    }
  }

  /** Waits a moment for the turn of a segment; whether it has come. */
  private isTurn(index: number): boolean {
    for (let i = 0; i < looks; i++) {
      if (Atomics.load(this.words, Word.turn) === index) return true;
    }
    const turn = Atomics.load(this.words, Word.turn);
    if (turn !== index) Atomics.wait(this.words, Word.turn, turn, sleep);
    return Atomics.load(this.words, Word.turn) === index;
  }
}

/** Ends a move. */
class Failure extends Error {
  readonly failure: MoveFailure;

  constructor(failure: MoveFailure) {
    super("A segment could not be moved.");
    this.failure = failure;
  }
}

/** A buffer for the longest of the segments, `spare` if that is long enough. */
export function bufferFor({ segments }: FileMove, spare: Bytes | undefined): Bytes {
  const length = Math.max(
    0,
    ...segments.map(({ parts, start, end }) => (parts.length === 0 ? 0 : end - start)),
  );
  return spare !== undefined && spare.length >= length ? spare : pagesOf(length);
}
