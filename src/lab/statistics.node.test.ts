import { describe, expect, it } from "vitest";
import {
  compareTimes,
  leastRounds,
  median,
  quantile,
  randomFrom,
  summarize,
} from "./statistics.ts";

describe("statistics", () => {
  it("finds the middle and the quartiles", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(quantile([1, 2, 3, 4, 5], 0.25)).toBe(2);
    expect(summarize([5, 1, 9])).toEqual({
      median: 5,
      lowerQuartile: 3,
      upperQuartile: 7,
      minimum: 1,
      maximum: 9,
    });
    expect(() => median([])).toThrow(RangeError);
  });

  it("is sure of a difference that shows in every round", () => {
    const slow = [20, 22, 19, 21, 30, 20, 20, 23];
    const fast = slow.map((time) => time / 2);
    expect(compareTimes(slow, fast)).toMatchObject({ ratio: 2, verdict: "faster" });
    expect(compareTimes(fast, slow)).toMatchObject({ ratio: 0.5, verdict: "slower" });
  });

  it("is sure of nothing after a few rounds", () => {
    const slow = [20, 22, 19, 21, 30, 20, 20];
    const fast = slow.map((time) => time / 2);
    expect(slow.length).toBe(leastRounds - 1);
    expect(compareTimes(slow, fast)).toMatchObject({ ratio: 2, verdict: "same" });
  });

  it("is not fooled by one round, by noise, or by little", () => {
    const one = [10, 11, 10, 12, 10, 11, 10, 12, 11];
    expect(compareTimes([...one.slice(0, 8), 100], one).verdict).toBe("same");
    const noisy = [10, 9, 13, 10, 14, 9, 10, 13, 9];
    expect(compareTimes(one, noisy).verdict).toBe("same");
    const little = one.map((time) => time * 1.05);
    expect(compareTimes(one, little).verdict).toBe("same");
  });

  it("says the same of the same numbers", () => {
    const [a, b] = [
      [10, 12, 9, 14],
      [8, 9, 9, 10],
    ];
    expect(compareTimes(a, b)).toEqual(compareTimes(a, b));
  });

  it("draws evenly", () => {
    const next = randomFrom(10);
    const counts = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 10_000; i++) counts[next()]!++;
    expect(Math.min(...counts)).toBeGreaterThan(900);
    expect(Math.max(...counts)).toBeLessThan(1100);
  });
});
