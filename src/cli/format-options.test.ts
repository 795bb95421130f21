import { describe, expect, it } from "vitest";
import { checkOptionList, splitOptionList } from "./format-options.ts";

describe("splitOptionList", () => {
  it.each<[string[], [string, string][]]>([
    [["a=1"], [["a", "1"]]],
    [
      ["a=1,b=2", "c=3"],
      [
        ["a", "1"],
        ["b", "2"],
        ["c", "3"],
      ],
    ],
    [
      ["a=x,,y,b=,,"],
      [
        ["a", "x,y"],
        ["b", ","],
      ],
    ],
    [
      ["a=1,,,b"],
      [
        ["a", "1,"],
        ["b", "on"],
      ],
    ],
    [["lazy_refcounts"], [["lazy_refcounts", "on"]]],
    [["nolazy_refcounts"], [["lazy_refcounts", "off"]]],
    [["nocow=on"], [["nocow", "on"]]],
    [["a=b=c"], [["a", "b=c"]]],
    [["a="], [["a", ""]]],
    [["=3"], [["", "3"]]],
    [
      ["a,,b"],
      [
        ["a", "on"],
        ["", "on"],
        ["b", "on"],
      ],
    ],
    [["help=1"], [["help", "1"]]],
  ])("%j", (lists, pairs) => {
    expect(splitOptionList(lists)).toEqual({ pairs, help: false });
  });

  it.each([["help"], ["?"], ["a=1,help"], ["help,a=1"], ["a=1", "?"]])("help in %j", (...lists) => {
    expect(splitOptionList(lists).help).toBe(true);
  });
});

describe("checkOptionList", () => {
  it.each(["a", "a=1", "a=1,,", "a=,,,,", "a,b"])("takes %j", (list) => {
    expect(() => checkOptionList(list)).not.toThrow();
  });
  it.each(["", ",", ",a", "a,", "a=1,,,", ",,a"])("refuses %j", (list) => {
    expect(() => checkOptionList(list)).toThrow(/-o takes/);
  });
});
