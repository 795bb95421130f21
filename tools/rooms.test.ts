import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkRooms } from "./rooms.ts";

const checkout = join(import.meta.dirname, "..");
let copy: string;

beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), "platter-rooms-"));
  cpSync(join(checkout, "src"), join(copy, "src"), { recursive: true });
  cpSync(join(checkout, "package.json"), join(copy, "package.json"));
});
afterEach(() => {
  rmSync(copy, { recursive: true });
});

/** The problems that a file with this text causes, without its name. */
function planted(file: string, text: string): string[] {
  const path = join(copy, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return checkRooms(copy)
    .problems.filter((problem) => problem.startsWith(`${file}:`))
    .map((problem) => problem.slice(file.length + 1));
}

describe("rooms", () => {
  it("sees the modules of this checkout, and no problem", () => {
    const { modules, problems } = checkRooms(checkout);
    expect(problems).toEqual([]);
    expect(modules).toBeGreaterThan(10);
  });

  it("counts nothing where there is nothing", () => {
    rmSync(join(copy, "src"), { recursive: true });
    expect(checkRooms(copy)).toEqual({ modules: 0, problems: [] });
  });

  it.each([
    ["an earlier room's index", "src/disk/x.ts", 'import "../storage/index.ts";'],
    ["its own room", "src/disk/x.ts", 'import type { Image } from "./image.ts";'],
    ["the errors", "src/formats/qcow2/x.ts", 'import "../../errors.ts";'],
    ["Node, in the host", "src/host/x.ts", 'import "node:fs";'],
    ["koffi, in the host", "src/host/x.ts", 'const k = await import("koffi");'],
    ["a shipped package", "src/codec/x.ts", 'import "pako";'],
    ["a file of all formats, from one", "src/formats/raw/x.ts", 'import "../format.ts";'],
    ["a format's index, from the registry", "src/formats/x.ts", 'import "./raw/index.ts";'],
    ["vitest, in a test", "src/bytes/x.test.ts", 'import "vitest"; import "fast-check";'],
    ["vitest, in what tests share", "src/bytes/x.test-kit.ts", 'import "vitest";'],
    ["Node, in a test for Node", "src/bytes/x.node.test.ts", 'import "node:fs";'],
    ["a name in a comment or string", "src/bytes/x.ts", '// import "node:fs"\nf(\'import "x"\');'],
  ])("lets through %s", (_, file, text) => {
    expect(planted(file, text)).toEqual([]);
  });

  it.each([
    ["a later room", "src/bytes/x.ts", 'import "../disk/index.ts";', "bytes imports disk, a later"],
    [
      "a later room's type",
      "src/codec/x.ts",
      'import type { A } from "../disk/index.ts";',
      "later",
    ],
    ["a later room as a type", "src/codec/x.ts", 'type A = import("../disk/index.ts").A;', "later"],
    ["a later room, lazily", "src/codec/x.ts", 'await import("../cli/index.ts");', "a later room"],
    [
      "a later room after a comment",
      "src/codec/x.ts",
      'await import(/* */ "../cli/x.ts");',
      "later",
    ],
    [
      "a later room's name, re-exported",
      "src/codec/x.ts",
      'export { a, b } from "../disk/index.ts";',
      "l",
    ],
    [
      "a later room's all, re-exported",
      "src/codec/x.ts",
      'export type * from "../disk/index.ts";',
      "l",
    ],
    ["a later room, re-exported", "src/codec/x.ts", 'export * from "../disk/index.ts";', "later"],
    [
      "a later room, in a test",
      "src/codec/x.test.ts",
      'import "../disk/index.ts";',
      "a later room",
    ],
    [
      "a way past the index",
      "src/disk/x.ts",
      'import "../storage/storage.ts";',
      "past src/storage/i",
    ],
    [
      "another format",
      "src/formats/raw/x.ts",
      'import "../qcow2/index.ts";',
      "imports format qcow2",
    ],
    ["the registry, from a format", "src/formats/raw/x.ts", 'import "../index.ts";', "imports it"],
    [
      "a format past its index",
      "src/formats/x.ts",
      'import "./qcow2/header.ts";',
      "past src/formats/q",
    ],
    ["an entry, from a room", "src/cli/x.ts", 'import "../index.ts";', "in no room"],
    ["Node, in a browser-safe room", "src/commands/x.ts", 'import "node:fs";', "run in a browser"],
    ["Node without node:", "src/host/x.ts", 'import "fs";', "without node:"],
    ["Node, in a browser-safe test", "src/disk/x.test.ts", 'import "node:fs";', "run in a browser"],
    ["Node, in the core entry", "src/core.ts", 'import "node:fs";', "run in a browser"],
    [
      "the host, in the core entry",
      "src/core.ts",
      'import "./host/index.ts";',
      "may not import host",
    ],
    ["the command line, in an entry", "src/index.ts", 'import "./cli/index.ts";', "not import cli"],
    [
      "a room past its index, in an entry",
      "src/index.ts",
      'import "./host/x.ts";',
      "past src/host/i",
    ],
    ["koffi outside the host", "src/cli/x.ts", 'import "koffi";', "which only host may"],
    ["a development package", "src/host/x.ts", 'import "oxc-parser";', "is not shipped"],
    ["vitest outside a test", "src/disk/x.ts", 'import "vitest";', "is not shipped"],
    ["a computed name", "src/cli/x.ts", "await import(name);", "computed name"],
    ["a file outside the rooms", "src/util.ts", "export {};", "in no known room"],
    ["an unknown room", "src/util/x.ts", "export {};", "in no known room"],
    ["a file outside src", "src/disk/x.ts", 'import "../../tools/rooms.ts";', "in no room"],
  ])("finds %s", (_, file, text, problem) => {
    expect(planted(file, `\n${text}`)).toEqual([expect.stringContaining(problem)]);
  });

  it("names the line", () => {
    expect(planted("src/bytes/x.ts", 'const a = 1;\n\nimport "node:fs";')).toEqual([
      "3: imports node:fs, but has to run in a browser",
    ]);
  });
});
