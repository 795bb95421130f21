import { expect, test } from "vitest";
import { picture, table, type Machine, type Outcome } from "./report.ts";

const outcome = (name: string, median: number, memory = 100): Outcome => ({
  name,
  what: name,
  atLeast: 1,
  aim: 2,
  seconds: 2,
  best: { median, least: median - 0.1, most: median + 0.1, seconds: 2 * median, command: "x" },
  plain: { median: 2 * median, least: 1, most: 9, seconds: 4 * median },
  processor: { ours: 1, theirs: 0.25 },
  memory: { ours: memory * 2 ** 20, theirs: 10 * 2 ** 20 },
});

const machine: Machine = {
  kernel: "6.1",
  filesystem: "ext4",
  processor: "any",
  processors: 2,
  memory: 2 ** 33,
  load: 0,
  platter: "0",
  node: "v26",
  qemu: "7.2",
  rounds: 5,
  scale: "full",
  command: "npm run bench",
};

const cellsOf = (text: string, name: string): string[] => {
  const line = text.split("\n").find((one) => one.includes(`| ${name} `)) ?? "";
  return line.split("|").map((cell) => cell.trim());
};

test("a row has times, ratio, spread, both columns of the peer, and memory", () => {
  const cells = cellsOf(table([{ ...outcome("copy", 1.5), limit: 0.5 }]), "copy");
  expect(cells).toEqual(
    ["", "copy", "2.00 s", "3.00 s", "1.50", "1.40–1.60", "1.00", "3.00", "0.50 s"].concat(
      "1.00, 0.25 s",
      "100 MB, 10 MB",
      "",
    ),
  );
});

test("what is slower than it has to be, or takes too much memory, has a mark", () => {
  const text = table([outcome("slow", 0.9), outcome("fast", 1), outcome("large", 1, 257)]);
  expect(cellsOf(text, "slow")[4]).toBe("0.90 !");
  expect(cellsOf(text, "fast")[4]).toBe("1.00");
  expect(cellsOf(text, "large").at(-2)).toBe("257 MB !, 10 MB");
});

test("all rows of the table are equally wide", () => {
  const lines = table([outcome("a", 10), outcome("much-longer", 0.5)]).split("\n");
  expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
});

test("a cell that failed is named with its reason", () => {
  const text = table([], [{ name: "raw-zlib", reason: "no such option" }]);
  expect(text).toMatch(/^raw-zlib FAILED: no such option$/m);
});

test("the picture has a bar for each cell, on the right side of one", () => {
  const svg = picture([outcome("slow", 0.5), outcome("fast", 3)], machine);
  const one = Number(/x1="([0-9.]+)"[^>]*class="one"/.exec(svg)?.[1]);
  const bars = [...svg.matchAll(/<rect x="([0-9.]+)"[^>]* width="([0-9.]+)"[^>]*class="(\w+)"/g)];
  const [slow, fast] = bars.map(([, x, width, kind]) => ({
    x: Number(x),
    width: Number(width),
    kind,
  }));
  expect(bars).toHaveLength(2);
  expect(slow!.x + slow!.width).toBeCloseTo(one, 0);
  expect(slow!.kind).toBe("missed");
  expect(fast!.x).toBeCloseTo(one, 0);
  expect(fast!.kind).toBe("reached");
  expect(svg).toContain("prefers-color-scheme: dark");
});
