import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, inject, test } from "vitest";
import type { FileMove, FileSegment, StoredRun } from "../codec/index.ts";
import { newWords, SegmentMover } from "./segment-mover.ts";

const KiB = 1024;
const directory = mkdtempSync(join(tmpdir(), "platter-movers-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const [source, target] = [join(directory, "source"), join(directory, "target")];

const unit = 4 * KiB;
const segmentBytes = 16 * KiB;

/** Opens what a test needs and closes it again. */
function withFiles<T>(bytes: Uint8Array, task: (from: number, to: number) => T): T {
  writeFileSync(source, bytes);
  writeFileSync(target, "");
  const from = openSync(source, "r");
  const to = openSync(target, "r+");
  try {
    return task(from, to);
  } finally {
    closeSync(from);
    closeSync(to);
  }
}

/** Segments that cover all of the source, with holes where `isHole` says so. */
function segmentsOf(
  length: number,
  from: number,
  isHole: (unitAt: number) => boolean,
): FileSegment[] {
  const segments: FileSegment[] = [];
  for (let start = 0; start < length; start += segmentBytes) {
    const parts = [];
    for (let at = start; at < start + segmentBytes; at += unit) {
      if (isHole(at / unit)) continue;
      parts.push({ descriptor: from, offset: at, length: unit, at: at - start });
    }
    segments.push({ start, end: start + segmentBytes, parts });
  }
  return segments;
}

/** Has as many movers as `turns` names make steps in that order, then all of them to their end. */
function run(
  move: FileMove,
  turns: readonly number[],
): { readonly movers: readonly SegmentMover[]; readonly stored: readonly StoredRun[] } {
  const words = newWords();
  const movers = Array.from(
    { length: Math.max(...turns) + 1 },
    () => new SegmentMover(move, words, new Uint8Array(segmentBytes)),
  );
  for (const turn of turns) movers[turn]!.step();
  for (let busy = [...movers]; busy.length > 0;) {
    busy = busy.filter((mover) => mover.step() !== "done");
  }
  const stored = movers
    .flatMap((mover) => mover.stored)
    .toSorted((a, b) => a.segment - b.segment)
    .flatMap(({ runs }) => runs);
  return { movers, stored };
}

/** What is in a unit of the source: noise, zeros, or a hole, which is not read. */
const unitKind = fc.constantFrom("data", "zeros", "hole");

test("any number of movers, in any order, store the same bytes at the same places", () => {
  const property = fc.property(
    fc.array(unitKind, { minLength: 40, maxLength: 40 }),
    fc.array(fc.nat(2), { minLength: 1, maxLength: 30 }),
    fc.constantFrom<FileMove["placing"]>("fixed", "next"),
    (kinds, turns, placing) => {
      const bytes = new Uint8Array(kinds.length * unit);
      for (const [i, kind] of kinds.entries()) {
        // A hole of the plan need not be one of the file: nobody looks.
        if (kind !== "zeros") bytes.fill(i + 1, i * unit + 5, (i + 1) * unit - 7);
      }
      const offset = 64 * KiB;
      withFiles(bytes, (from, to) => {
        const segments = segmentsOf(bytes.length, from, (at) => kinds[at] === "hole");
        const move = { segments, sparse: unit, unit, target: to, placing, offset };
        const { stored, movers } = run(move, turns);
        expect(movers.every(({ failure }) => failure === undefined)).toBe(true);
        const units = stored.flatMap(({ start, end }) =>
          Array.from({ length: (end - start) / unit }, (_, i) => start / unit + i),
        );
        expect(units).toEqual([...kinds.keys()].filter((i) => kinds[i] === "data"));
        const written = readFileSync(target);
        const placeOf = (i: number, at: number): number =>
          offset + (placing === "fixed" ? at : i) * unit;
        const length = units.length === 0 ? 0 : placeOf(units.length - 1, units.at(-1)!) + unit;
        const expected = new Uint8Array(length);
        for (const [i, at] of units.entries()) {
          expected.set(bytes.subarray(at * unit, (at + 1) * unit), placeOf(i, at));
        }
        expect(written.equals(expected)).toBe(true);
      });
    },
  );
  fc.assert(property, { numRuns: 40 * inject("effort") });
});

test("a file that ends too early, or cannot be read or written, ends the move for all", () => {
  const bytes = new Uint8Array(8 * segmentBytes).fill(7);
  withFiles(bytes, (from, to) => {
    const segments = segmentsOf(bytes.length + segmentBytes, from, () => false);
    const move = { segments, sparse: unit, unit, target: to, placing: "next", offset: 0 } as const;
    const short = run(move, [0, 1, 0, 1]);
    expect(short.movers.map(({ failure }) => failure)).toContainEqual({
      segment: 8,
      part: 0,
      count: 0,
    });
    const unreadable = segments.map((segment) => ({
      ...segment,
      parts: segment.parts.map((part) => ({ ...part, descriptor: to + 1000 })),
    }));
    expect(run({ ...move, segments: unreadable }, [0, 1]).movers[0]!.failure).toEqual({
      segment: 0,
      part: 0,
      code: "EBADF",
    });
    const full = openSync("/dev/full", "r+");
    try {
      const failed = run({ ...move, target: full, offset: 4096 }, [0, 1]);
      expect(failed.movers[0]!.failure).toEqual({ segment: 0, offset: 4096, code: "ENOSPC" });
      // Nobody waits for a turn that never comes.
      expect(failed.movers[1]!.step()).toBe("done");
    } finally {
      closeSync(full);
    }
  });
});
