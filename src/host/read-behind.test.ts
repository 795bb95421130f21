import { expect, test } from "vitest";
import { ReadBehind } from "./read-behind.ts";

const MiB = 2 ** 20;

/** What is let go of after reads of `length` at the offsets, in MiB. */
function dropped(reads: ReadonlyArray<readonly [offset: number, length: number]>): string[] {
  const ranges: string[] = [];
  const behind = new ReadBehind((offset, length) =>
    ranges.push(`${offset / MiB}-${(offset + length) / MiB}`),
  );
  for (const [offset, length] of reads) behind.note(offset * MiB, length * MiB);
  return ranges;
}
const pieces = (from: number, to: number, length: number) =>
  Array.from({ length: (to - from) / length }, (_, i) => [from + i * length, length] as const);

test("what lies well behind is let go, in large pieces, though reads overtake each other", () => {
  const reads = pieces(0, 200, 2);
  const shuffled = reads.map((_, i) => reads[i ^ 3] ?? reads[i]!);
  expect(dropped(reads)).toEqual(["0-64", "64-128"]);
  expect(dropped(shuffled).length).toBe(2);
});

test("of holes that are skipped nothing more is made", () => {
  expect(
    dropped([
      [0, 2],
      [1000, 2],
    ]),
  ).toEqual(["0-970"]);
});

test("little pieces, and a second time, let go of nothing", () => {
  expect(dropped(pieces(0, 300, 1 / 8))).toEqual([]);
  expect(dropped([...pieces(0, 100, 2), ...pieces(0, 300, 2)])).toEqual(["0-64"]);
});
