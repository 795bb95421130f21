import { expect, it } from "vitest";
import { nearest } from "./suggest.ts";

const commands = ["check", "compare", "convert", "create", "info", "map"];

it.each<[string, string | undefined]>([
  ["inf", "info"],
  ["ifno", "info"],
  ["conver", "convert"],
  ["covnert", "convert"],
  ["crate", "create"],
  ["mpa", "map"],
  ["chekc", "check"],
  ["co", undefined],
  ["xyzzy", undefined],
  ["", undefined],
])("%s → %s", (word, guess) => {
  expect(nearest(word, commands)).toBe(guess);
});
