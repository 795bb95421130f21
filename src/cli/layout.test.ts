import { expect, it } from "vitest";
import { alignColumns, wrap } from "./layout.ts";

it("aligns by what is visible", () => {
  expect(
    alignColumns(
      [
        ["\x1b[1ma\x1b[22m", "b"],
        ["long", "c"],
      ],
      { indent: 1 },
    ),
  ).toBe(" \x1b[1ma\x1b[22m     b\n long  c\n");
});

it("wraps between words", () => {
  expect(wrap("aaa bbb ccc", 7)).toBe("aaa bbb\nccc\n");
  expect(wrap("aaaaaaaaaa b", 4, 2)).toBe("  aaaaaaaaaa\n  b\n");
});
