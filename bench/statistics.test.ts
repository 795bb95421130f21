import { expect, test } from "vitest";
import { median, ratio } from "./statistics.ts";

test("the median of odd and even numbers of values, in any order", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test("a ratio above one says that ours is faster", () => {
  expect(ratio([4, 6, 5], [2, 2, 5])).toEqual({ median: 2.5, least: 1, most: 3 });
});
