import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RangeSet } from "./range-set.ts";

const all = (set: RangeSet): (readonly [number, number])[] => [...set.ranges()];

describe("RangeSet", () => {
  test("joins ranges that touch or overlap", () => {
    const set = new RangeSet();
    set.add(10, 20);
    set.add(30, 40);
    set.add(20, 25);
    set.add(28, 30);
    expect(all(set)).toEqual([
      [10, 25],
      [28, 40],
    ]);
    set.add(0, 100);
    expect(all(set)).toEqual([[0, 100]]);
    expect(set.count).toBe(100);
  });

  test("splits a range", () => {
    const set = new RangeSet();
    set.add(0, 100);
    set.delete(40, 60);
    set.delete(0, 1);
    expect(all(set)).toEqual([
      [1, 40],
      [60, 100],
    ]);
    expect(set.run(0)).toEqual({ inside: false, end: 1 });
    expect(set.run(39)).toEqual({ inside: true, end: 40 });
    expect(set.run(40)).toEqual({ inside: false, end: 60 });
    expect(set.run(100)).toEqual({ inside: false, end: Infinity });
  });

  test("an empty range changes nothing", () => {
    const set = new RangeSet();
    set.add(5, 5);
    set.add(1, 9);
    set.delete(5, 5);
    set.delete(9, 3);
    expect(all(set)).toEqual([[1, 9]]);
  });

  test("a clone goes its own way", () => {
    const set = new RangeSet();
    set.add(0, 10);
    const copy = set.clone();
    copy.delete(2, 4);
    expect([set.count, copy.count]).toEqual([10, 8]);
    expect(set.has(3)).toBe(true);
    expect(copy.has(3)).toBe(false);
  });

  test("behaves as a set of numbers", () => {
    const size = 40;
    const change = fc.tuple(fc.boolean(), fc.nat(size), fc.nat(size));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const set = new RangeSet();
        const model = new Set<number>();
        for (const [add, a, b] of changes) {
          const [start, end] = [Math.min(a, b), Math.max(a, b)];
          if (add) set.add(start, end);
          else set.delete(start, end);
          for (let i = start; i < end; i++) {
            if (add) model.add(i);
            else model.delete(i);
          }
        }
        expect(set.count).toBe(model.size);
        for (let i = 0; i < size; i++) {
          expect(set.has(i)).toBe(model.has(i));
          const { inside, end } = set.run(i);
          for (let j = i; j < Math.min(end, size); j++) expect(model.has(j)).toBe(inside);
          if (end < size) expect(model.has(end)).toBe(!inside);
        }
        expect(set.countIn(7, 23)).toBe([...model].filter((i) => i >= 7 && i < 23).length);
        const bounds = all(set).flat();
        for (let i = 1; i < bounds.length; i++) expect(bounds[i]).toBeGreaterThan(bounds[i - 1]!);
      }),
    );
  });
});
