import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endOfSubclusters, firstSubcluster, isInvalid, subclusterMask } from "./subclusters.ts";

const bits = (mask: number): number[] =>
  Array.from({ length: 32 }, (_, n) => n).filter((n) => ((mask >>> n) & 1) !== 0);

describe("masks of subclusters", () => {
  test("a range has the bits of its subclusters", () => {
    for (let from = 0; from <= 32; from++) {
      for (let to = from; to <= 32; to++) {
        const mask = subclusterMask(from, to);
        expect(mask).toBeGreaterThanOrEqual(0);
        expect(bits(mask)).toEqual(Array.from({ length: to - from }, (_, i) => from + i));
      }
    }
  });

  test("the first one, and the end", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (mask) => {
        const set = bits(mask);
        expect(firstSubcluster(mask)).toBe(set[0] ?? 32);
        expect(endOfSubclusters(mask)).toBe((set.at(-1) ?? -1) + 1);
      }),
      { examples: [[0], [0x8000_0000], [0xffff_ffff], [1]] },
    );
  });

  test("what contradicts itself", () => {
    expect(isInvalid(true, 0x8000_0000, 0x8000_0000)).toBe(true);
    expect(isInvalid(true, 0x0f, 0xf0)).toBe(false);
    expect(isInvalid(false, 0, 0x8000_0000)).toBe(true);
    expect(isInvalid(false, 0xffff_ffff, 0)).toBe(false);
  });
});
