/** `check -r` beside qemu-img's: the same words, counts, exit codes and, repaired in place, bytes. */
import { copyFileSync, mkdirSync, openSync, closeSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { services } from "../../src/cli/services.ts";
import { FakeEnvironment, peer } from "../cli/harness.ts";
import { describePeer } from "../peers.ts";
import { temporaryDirectory } from "./kit.ts";

/** A value of so many bytes at an offset, or at an offset in the table that the field names. */
type Damage = readonly [
  where: "file" | "refcount block" | "L2" | "L1",
  at: number,
  value: bigint,
  bytes: number,
];

interface Case {
  readonly name: string;
  readonly damage: readonly Damage[];
  /** QEMU makes the refcounts anew where there is room, we at the end of the file. */
  readonly rebuilt?: boolean;
  /** QEMU makes the file as long as the misplaced block would need it; we do not. */
  readonly grown?: boolean;
}

const K = 65536;
const cases: readonly Case[] = [
  { name: "sound", damage: [] },
  { name: "a leak", damage: [["refcount block", 8, 2n, 2]] },
  {
    name: "leaks past the end of the data",
    damage: [
      ["refcount block", 9, 1n, 2],
      ["refcount block", 11, 7n, 2],
    ],
  },
  {
    name: "a refcount too high",
    damage: [
      ["refcount block", 5, 3n, 2],
      ["refcount block", 6, 2n, 2],
    ],
  },
  { name: "a refcount of zero", damage: [["refcount block", 5, 0n, 2]], rebuilt: true },
  {
    name: "all refcounts zero",
    damage: Array.from({ length: 9 }, (_, i) => ["refcount block", i, 0n, 2] as const),
    rebuilt: true,
  },
  { name: "shared data, refcount one", damage: [["L2", 1, 0x8000_0000_0005_0000n, 8]] },
  { name: "copied flag missing", damage: [["L2", 0, 0x0000_0000_0005_0000n, 8]] },
  { name: "copied flag of the L2 table missing", damage: [["L1", 0, 0x0000_0000_0004_0000n, 8]] },
  { name: "unaligned preallocated zeros", damage: [["L2", 2, 0x8000_0000_0007_0201n, 8]] },
  { name: "unaligned data", damage: [["L2", 2, 0x8000_0000_0007_0200n, 8]] },
  { name: "data beyond the end", damage: [["L2", 2, 0x8000_0000_0700_0000n, 8]] },
  {
    name: "data just beyond the end",
    damage: [["L2", 2, 0x8000_0000_0009_0000n, 8]],
    rebuilt: true,
  },
  {
    name: "data on the refcount block",
    damage: [["L2", 2, 0x8000_0000_0002_0000n, 8]],
    rebuilt: true,
  },
  {
    name: "data on the header",
    damage: [
      ["L2", 2, 0x8000_0000_0000_0000n, 8],
      ["L2", 3, 0x8000_0000_0001_0000n, 8],
    ],
  },
  { name: "L2 table beyond the end", damage: [["L1", 0, 0x8000_0000_0700_0000n, 8]] },
  { name: "L2 table unaligned", damage: [["L1", 0, 0x8000_0000_0004_0200n, 8]], rebuilt: true },
  {
    name: "block outside the file",
    damage: [["file", K + 8, 0x20_0000n, 8]],
    rebuilt: true,
    grown: true,
  },
  { name: "no refcount block", damage: [["file", K, 0n, 8]], rebuilt: true },
  { name: "a block twice", damage: [["file", K + 8, 0x2_0000n, 8]], rebuilt: true },
  {
    name: "dirty",
    damage: [
      ["file", 79, 1n, 1],
      ["refcount block", 5, 4n, 2],
    ],
  },
  { name: "corrupt bit", damage: [["file", 79, 2n, 1]] },
  {
    name: "dirty and corrupt with damage",
    damage: [
      ["file", 79, 3n, 1],
      ["refcount block", 6, 0n, 2],
    ],

    rebuilt: true,
  },
];

const places = {
  file: [0, 1],
  "refcount block": [2 * K, 2],
  L2: [4 * K, 8],
  L1: [3 * K, 8],
} as const;

function broken(file: string, damage: readonly Damage[]): void {
  const descriptor = openSync(file, "r+");
  for (const [where, at, value, bytes] of damage) {
    const [start, unit] = places[where];
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64BE(value);
    writeSync(descriptor, buffer.subarray(8 - bytes), 0, bytes, start + at * unit);
  }
  closeSync(descriptor);
}

async function ours(words: readonly string[]) {
  const environment = new FakeEnvironment();
  const code = await main(["node", "/somewhere/qemu-img", ...words], environment, services);
  return { stdout: environment.stdout.text, stderr: environment.stderr.text, code };
}

describePeer(["qemu-img@7.2", "qemu-io"], "check -r beside qemu-img", () => {
  const directory = temporaryDirectory();
  const sound = join(directory, "sound");
  mkdirSync(join(directory, "ours"));
  mkdirSync(join(directory, "theirs"));
  const image = (side: string) => join(directory, side, "a.q");

  function make(): void {
    expect(peer(["create", "-q", "-f", "qcow2", sound, "4M"]).code).toBe(0);
    const io = spawnSync("qemu-io", ["-c", "write -P 1 0 256k", sound], { encoding: "utf8" });
    expect(io.status).toBe(0);
  }

  describe.each(["leaks", "all"])("check -r %s", (what) => {
    test.each(cases)("$name", async ({ damage, rebuilt, grown }) => {
      make();
      broken(sound, damage);
      for (const side of ["ours", "theirs"]) copyFileSync(sound, image(side));
      const home = process.cwd();
      for (const words of [
        ["check", "a.q"],
        ["check", "-r", what, "a.q"],
        ["check", "--output=json", "a.q"],
      ]) {
        const theirs = peer(words, join(directory, "theirs"));
        process.chdir(join(directory, "ours"));
        const outcome = await ours(words).finally(() => process.chdir(home));
        if (grown === true && words.includes("all")) continue;
        const masked = (text: string) =>
          rebuilt === true && what === "all"
            ? text.replace(/(?:Image end offset|"image-end-offset"): \d+/, "the end")
            : text;
        const { stdout, stderr, code } = outcome;
        expect({ words, stdout: masked(stdout), stderr, code }).toEqual({
          words,
          stdout: masked(theirs.stdout),
          stderr: theirs.stderr,
          code: theirs.code,
        });
      }
      const [after, expected] = [readFileSync(image("ours")), readFileSync(image("theirs"))];
      // Having repaired nothing, QEMU takes the dirty mark away on closing.
      if (what === "leaks") expected[79]! |= after[79]! & 1;
      if (rebuilt !== true || what === "leaks") expect(after.equals(expected)).toBe(true);
      expect(peer(["check", image("ours")]).code).toBe(peer(["check", image("theirs")]).code);
      // What the damage did to the data is not to change with the repair.
      const read = (side: string) =>
        peer(["convert", "-O", "raw", image(side), join(directory, side, "raw")]).code;
      expect(read("ours")).toBe(read("theirs"));
      if (read("ours") === 0) {
        const raw = (side: string) => readFileSync(join(directory, side, "raw"));
        expect(raw("ours").equals(raw("theirs"))).toBe(true);
      }
    });
  });

  test.each<readonly [string, Damage]>([
    ["reserved bits in the refcount table", ["file", K, 0x2_0001n, 8]],
    ["a refcount block that is not aligned", ["file", K, 0x2_0200n, 8]],
    ["a refcount block on the data", ["file", K, 0x5_0000n, 8]],
  ])("%s is repaired, where QEMU gives up or not", async (_name, damage) => {
    make();
    const raw = (name: string) => {
      const to = join(directory, name);
      expect(
        peer(["convert", "-O", "raw", name === "before" ? sound : image("ours"), to]).code,
      ).toBe(0);
      return readFileSync(to);
    };
    const before = raw("before");
    broken(sound, [damage]);
    copyFileSync(sound, image("ours"));
    expect((await ours(["check", image("ours")])).code).not.toBe(0);
    expect((await ours(["check", "-r", "leaks", image("ours")])).code).toBe(1);
    expect((await ours(["check", "-r", "all", image("ours")])).code).toBe(0);
    expect(peer(["check", image("ours")]).code).toBe(0);
    expect(raw("after").equals(before)).toBe(true);
  });
});
