import { alignDown, alignUp } from "../bytes/index.ts";
import type { CopySource } from "./source.ts";

/** Guest bytes [start, end). */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** A piece of work for a mover: guest bytes [start, end) of the source. */
export interface Segment extends Range {
  /** What has to be read, in order; everything else in the segment is zeros. Empty: all zeros. */
  readonly pieces: readonly Range[];
}

/** How a plan is cut. */
export interface PlanOptions {
  /** Segments with data start and end at multiples of this, but for the end of the disk. */
  readonly unit: number;
  /** Longest segment with data in bytes, a multiple of `unit`. */
  readonly longest: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Cuts a disk into segments that cover it in guest order, from its mapping alone: no guest byte is
 * read. Needs memory for one segment.
 */
export async function* plan(source: CopySource, options: PlanOptions): AsyncGenerator<Segment> {
  const { unit, longest, signal } = options;
  let planned = 0;
  let pieces: Range[] = [];
  function* flush(): Generator<Segment> {
    const first = pieces[0];
    const last = pieces.at(-1);
    if (first === undefined || last === undefined) return;
    const start = alignDown(first.start, unit);
    const end = Math.min(source.size, alignUp(last.end, unit));
    if (planned < start) yield { start: planned, end: start, pieces: [] };
    yield { start, end, pieces };
    planned = end;
    pieces = [];
  }
  for await (const extent of source.extents({ holes: true, signal })) {
    if (extent.zero) continue;
    const stop = extent.start + extent.length;
    for (let at = extent.start; at < stop;) {
      const window = alignDown(at, longest);
      if (pieces.length > 0 && pieces[0]!.start < window) yield* flush();
      const end = Math.min(stop, window + longest);
      addPiece(pieces, { start: at, end });
      at = end;
    }
  }
  yield* flush();
  if (planned < source.size) yield { start: planned, end: source.size, pieces: [] };
}

/**
 * As {@link plan}, but only what the top layer of the source has of its own, be it data or zeros: the
 * target has the layers behind it already, which reach up to `backed`: beyond, zeros need not be said.
 * Widened to whole units, whose rest comes from those layers.
 */
export async function* planTopLayer(
  source: CopySource,
  { unit, longest, signal, backed }: PlanOptions & { readonly backed: number },
): AsyncGenerator<Segment> {
  let planned = 0;
  function* data(start: number, end: number): Generator<Segment> {
    for (let at = start; at < end;) {
      const stop = Math.min(end, alignDown(at, longest) + longest);
      yield { start: at, end: stop, pieces: [{ start: at, end: stop }] };
      at = stop;
    }
  }
  for await (const extent of source.extents({ holes: true, signal })) {
    if (extent.depth > 0) continue;
    const last = extent.start + extent.length;
    const stop = extent.zero ? Math.min(last, backed) : last;
    if (stop <= extent.start) continue;
    const from = Math.max(planned, alignDown(extent.start, unit));
    const to = Math.min(source.size, alignUp(stop, unit));
    const zeroFrom = Math.max(from, alignUp(extent.start, unit));
    const zeroTo = stop === source.size ? stop : alignDown(stop, unit);
    if (extent.zero && zeroFrom < zeroTo) {
      yield* data(from, zeroFrom);
      yield { start: zeroFrom, end: zeroTo, pieces: [] };
      yield* data(zeroTo, to);
    } else {
      yield* data(from, to);
    }
    planned = Math.max(planned, to);
  }
}

/** The same segments, with those that are all zeros cut to at most `longest` bytes. */
export async function* cutZeros(
  segments: AsyncIterable<Segment>,
  longest: number,
): AsyncGenerator<Segment> {
  for await (const segment of segments) {
    if (segment.pieces.length > 0) {
      yield segment;
      continue;
    }
    for (let { start } = segment; start < segment.end;) {
      const end = Math.min(segment.end, alignDown(start, longest) + longest);
      yield { start, end, pieces: [] };
      start = end;
    }
  }
}

function addPiece(pieces: Range[], piece: Range): void {
  const last = pieces.at(-1);
  if (last?.end === piece.start) pieces[pieces.length - 1] = { start: last.start, end: piece.end };
  else pieces.push(piece);
}
