import { alignDown, alignUp } from "./offsets.ts";
import { isZero } from "./zero.ts";

/** Bytes [start, end) of an array. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * The parts of `bytes` worth storing: runs that neither start nor end with zeros, nor contain `sparse`
 * bytes of them in a row, counted in pieces of `sparse` bytes, rounded down to a power of two, at
 * multiples of that, as QEMU counts. `at` is the guest offset of `bytes`; the ranges are relative to
 * `bytes`. With `sparse` 0, all of it.
 */
export function* dataRuns(bytes: Uint8Array, at: number, sparse: number): Generator<Span> {
  if (sparse === 0) {
    yield { start: 0, end: bytes.length };
    return;
  }
  const step = 2 ** Math.floor(Math.log2(sparse));
  let start = -1;
  let end = 0;
  for (let from = 0; from < bytes.length;) {
    const to = Math.min(bytes.length, from + step - ((at + from) % step));
    if (!isZero(bytes, from, to)) {
      if (start < 0) start = from;
      end = to;
    } else if (start >= 0 && to - end >= sparse) {
      yield { start, end };
      start = -1;
    }
    from = to;
  }
  if (start >= 0) yield { start, end };
}

/**
 * As {@link dataRuns}, widened to multiples of `unit` in the guest, but not past the ends of `bytes`; those that meet then
 * are one.
 */
export function* wideRuns(
  bytes: Uint8Array,
  at: number,
  sparse: number,
  unit: number,
): Generator<Span> {
  let start = -1;
  let end = -1;
  for (const run of dataRuns(bytes, at, sparse)) {
    const from = Math.max(0, alignDown(at + run.start, unit) - at);
    if (start >= 0 && from > end) yield { start, end };
    if (start < 0 || from > end) start = from;
    end = Math.min(bytes.length, alignUp(at + run.end, unit) - at);
  }
  if (start >= 0) yield { start, end };
}
