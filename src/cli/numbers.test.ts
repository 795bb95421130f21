import { describe, expect, it } from "vitest";
import { twoDecimals } from "./numbers.ts";

describe("two decimals", () => {
  it.each([
    [15.625, "15.62"],
    [15.875, "15.88"],
    [0.125, "0.12"],
    [0.375, "0.38"],
    [100, "100.00"],
    [33.333, "33.33"],
    [66.666, "66.67"],
  ])("%s is %s, as in C", (value, text) => {
    expect(twoDecimals(value)).toBe(text);
  });
});
