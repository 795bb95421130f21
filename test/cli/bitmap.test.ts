/**
 * `bitmap` and its neighbours side by side with qemu-img: a script of command lines is run by both, each in
 * a directory of its own, and what is printed, the exit code, and all bytes of all images are the same
 * after each line.
 */
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BitmapListing, Commands } from "../../src/cli/contract.ts";
import { hasPeer, type Outcome, peer, run } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-bitmap-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const theirs = join(directory, "theirs");
const ours = join(directory, "ours");
const link = join(directory, "qemu-img");

function program(words: readonly string[]): Outcome {
  const { stdout, stderr, status } = spawnSync(process.execPath, [link, ...words], {
    encoding: "utf8",
    cwd: ours,
    timeout: 60_000,
  });
  return { stdout, stderr, code: status };
}

/** Nodes get random numbers from QEMU. */
const masked = ({ stdout, stderr, code }: Outcome): Outcome => ({
  stdout: stdout.replaceAll(/("actual-size":|disk size:) .*/g, "$1"),
  stderr: stderr.replaceAll(/#block\d+/g, "#block"),
  code,
});

/** Runs a program that is not ours in both directories: what it changes, it changes on both sides. */
function onBothSides(command: string, words: readonly string[]): void {
  for (const cwd of [theirs, ours]) spawnSync(command, words, { cwd, encoding: "utf8" });
}

function differences(): string[] {
  const found: string[] = [];
  const names = new Set([...readdirSync(theirs), ...readdirSync(ours)]);
  for (const name of names) {
    const read = (side: string): Buffer | undefined => {
      try {
        return readFileSync(join(side, name));
      } catch {
        return undefined;
      }
    };
    const [a, b] = [read(ours), read(theirs)];
    if (a === undefined || b === undefined) found.push(`${name} is on one side only`);
    else if (!a.equals(b)) {
      const at = a.findIndex((byte, i) => byte !== b[i]);
      found.push(`${name}: ${a.length} and ${b.length} bytes, first difference at ${at}`);
    }
  }
  return found;
}

const longName = "n".repeat(1023);

/** Clears the autoclear bits, as a program does that does not know of bitmaps. */
function forget(name: string): void {
  for (const side of [theirs, ours]) {
    const file = join(side, name);
    const bytes = readFileSync(file);
    bytes.fill(0, 88, 96);
    writeFileSync(file, bytes);
  }
}

/** Lines for qemu-img; "forget" clears the autoclear bits of an image; "!" starts one for qemu-io that is run alike on both sides by QEMU. */
const script = `
create -q -f qcow2 a.qcow2 10M
create -q -f qcow2 -o cluster_size=512 small.qcow2 3M
create -q -f qcow2 -o cluster_size=4k,refcount_bits=1 fine.qcow2 20M
create -q -f qcow2 -o cluster_size=2M big.qcow2 1G
create -q -f qcow2 -o compat=0.10 old.qcow2 1M
create -q -f qcow2 -b a.qcow2 -F qcow2 over.qcow2
create -q -f qcow2 -u -b missing -F qcow2 lone.qcow2 10M
create -q -f raw r.raw 1M
bitmap --add a.qcow2 b0
info a.qcow2
info --output=json a.qcow2
check a.qcow2
check --output=json a.qcow2
bitmap --add a.qcow2 b0
bitmap --add -g 100 a.qcow2 b1
bitmap --add -g 256 a.qcow2 b1
bitmap --add -g 4G a.qcow2 b1
bitmap --add -g x a.qcow2 b1
bitmap --add -g 0 a.qcow2 b1
bitmap --add -g 6G a.qcow2 b2
bitmap --add -g 512 a.qcow2 b3
bitmap --disable a.qcow2 b3
info --output=json a.qcow2
info a.qcow2
bitmap a.qcow2 b3
bitmap
bitmap --add
bitmap --add a.qcow2
bitmap --add a.qcow2 x y
bitmap --add nofile b0
bitmap --add -f foo a.qcow2 b0
bitmap --add -f raw a.qcow2 b0
bitmap --remove a.qcow2 nope
bitmap --clear a.qcow2 nope
bitmap --enable a.qcow2 nope
bitmap --disable a.qcow2 nope
bitmap --merge nope a.qcow2 b0
bitmap --merge b0 a.qcow2 nope
bitmap --merge b0 -b nofile a.qcow2 b0
bitmap --merge b0 -b a.qcow2 a.qcow2 b0
bitmap --merge b0 -b small.qcow2 a.qcow2 b0
bitmap -b nofile --add a.qcow2 nope
bitmap -F raw --merge b0 a.qcow2 nope
bitmap -g 64k --clear a.qcow2 b0
bitmap -g 0 --clear a.qcow2 b0
bitmap --add -U a.qcow2 b9
bitmap --add r.raw b0
bitmap --remove r.raw b0
bitmap --add -f raw r.raw b0
bitmap --add old.qcow2 b0
bitmap --add a.qcow2 ${longName}n
bitmap --add a.qcow2 ${longName}
check a.qcow2
bitmap --remove a.qcow2 ${longName}
check a.qcow2
bitmap --add --disable lone.qcow2 one
bitmap --add --clear --merge one --enable lone.qcow2 two
info lone.qcow2
bitmap --add --add lone.qcow2 three
info --output=json lone.qcow2
! -c write~0~64k -c discard~1M~100k -c write~-z~3000k~70k -c write~-P~3~9M~1000 a.qcow2
bitmap --merge b0 a.qcow2 b1
bitmap --merge b0 --merge b3 a.qcow2 b2
bitmap --merge b0 a.qcow2 b3
bitmap --merge b3 --clear --merge b2 a.qcow2 b0
check a.qcow2
bitmap --remove --add -g 1M a.qcow2 b0
bitmap --add -g 4k small.qcow2 x
bitmap --add small.qcow2 y
! -c write~0~3M small.qcow2
bitmap --merge x small.qcow2 y
bitmap --add --merge x -b small.qcow2 -F qcow2 small.qcow2 z
check small.qcow2
bitmap --add -g 512 fine.qcow2 f
! -c write~0~20M fine.qcow2
bitmap --add --merge f fine.qcow2 g
check fine.qcow2
bitmap --add big.qcow2 b
! -c write~500M~100M big.qcow2
bitmap --add -g 512 --merge b big.qcow2 c
check big.qcow2
convert --bitmaps a.qcow2 o.raw
convert --bitmaps -O qcow2 r.raw o.qcow2
convert --skip-broken-bitmaps -O qcow2 a.qcow2 o.qcow2
convert --bitmaps -O qcow2 a.qcow2 a.qcow2 o.qcow2
convert --bitmaps -O qcow2 a.qcow2 o.qcow2
info --output=json o.qcow2
check o.qcow2
convert --bitmaps -O qcow2 -o compat=0.10 a.qcow2 o3.qcow2
convert --bitmaps -n -O qcow2 a.qcow2 o.qcow2
convert --bitmaps -O qcow2 -o cluster_size=4k a.qcow2 o4.qcow2
create -q -f qcow2 o5.qcow2 10M
convert --bitmaps -n -O qcow2 a.qcow2 o5.qcow2
bitmap --add over.qcow2 top
convert --bitmaps -O qcow2 -B a.qcow2 -F qcow2 over.qcow2 o6.qcow2
check o6.qcow2
!! -c write~0~64k -c abort o4.qcow2
info o4.qcow2
bitmap --clear o4.qcow2 b1
bitmap --enable o4.qcow2 b1
bitmap --disable o4.qcow2 b1
bitmap --merge b1 o4.qcow2 b1
bitmap --add --merge b1 o4.qcow2 fresh
bitmap --merge b1 -b o4.qcow2 a.qcow2 b1
convert --bitmaps -O qcow2 o4.qcow2 p.qcow2
convert --bitmaps --skip-broken-bitmaps -O qcow2 o4.qcow2 p.qcow2
info p.qcow2
check o4.qcow2
bitmap --remove o4.qcow2 b1
bitmap --remove o4.qcow2 fresh
check o4.qcow2
!!! amend -o compat=0.10 o5.qcow2
info o5.qcow2
info --output=json o5.qcow2
check o5.qcow2
bitmap --add o5.qcow2 b
bitmap --enable o5.qcow2 b
convert --bitmaps -O qcow2 o5.qcow2 p.qcow2
forget p.qcow2
forget o6.qcow2
info o6.qcow2
check o6.qcow2
bitmap --enable o6.qcow2 top
info o6.qcow2
bitmap --add o6.qcow2 top
check o6.qcow2
forget small.qcow2
map small.qcow2
compare small.qcow2 small.qcow2
convert -O raw small.qcow2 small.raw
bitmap --add small.qcow2 x
bitmap --remove lone.qcow2 two
bitmap --remove lone.qcow2 one
bitmap --remove lone.qcow2 three
info lone.qcow2
check lone.qcow2
`
  .trim()
  .split("\n");

beforeAll(() => {
  if (!hasPeer) return;
  symlinkSync(resolve("bin/platter.js"), link);
  for (const side of [theirs, ours]) mkdirSync(side);
});

describe.skipIf(!hasPeer)("bitmap beside qemu-img", () => {
  it.each(script)("%s", (line) => {
    const [first = "", ...rest] = line.split(" ").map((word) => word.replaceAll("~", " "));
    if (first === "forget") return forget(rest[0]!);
    if (first.startsWith("!")) {
      onBothSides(first === "!!!" ? "/usr/bin/qemu-img" : "qemu-io", rest);
      expect(differences()).toEqual([]);
      return;
    }
    const words = [first, ...rest];
    const before = readdirSync(theirs);
    const outcome = masked(peer(words, theirs));
    expect(masked(program(words))).toEqual(outcome);
    // A conversion that fails leaves nothing behind here.
    for (const name of readdirSync(theirs)) {
      if (outcome.code !== 0 && !before.includes(name)) rmSync(join(theirs, name));
    }
    expect(differences()).toEqual([]);
  });
});

describe("platter bitmap", () => {
  const bitmaps: BitmapListing[] = [
    { name: "monday", granularity: 65536, enabled: true, inconsistent: false, dirtyBytes: 131072 },
    { name: "tuesday", granularity: 512, enabled: false, inconsistent: false, dirtyBytes: 0 },
    {
      name: "\x1b[2J",
      granularity: 4096,
      enabled: true,
      inconsistent: true,
      dirtyBytes: undefined,
    },
  ];
  const listBitmaps: Commands["listBitmaps"] = async () => bitmaps;

  it("lists bitmaps", async () => {
    const { stdout, code } = await run("platter", ["bitmap", "x"], { listBitmaps });
    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        "Bitmap   Granularity  Changed  State",
        "monday   64 KiB       128 KiB  enabled",
        "tuesday  512 B        0 B      disabled",
        String.raw`\x1b[2J  4 KiB        unknown  inconsistent: remove it`,
        "",
      ].join("\n"),
    );
    const none = await run("platter", ["bitmap", "x"], { listBitmaps: async () => [] });
    expect(none.stdout).toBe("No bitmaps.\n");
  });

  it("lists bitmaps as JSON", async () => {
    const { stdout } = await run("platter", ["bitmap", "--json", "x"], { listBitmaps });
    expect(JSON.parse(stdout)).toEqual([
      {
        name: "monday",
        granularity: 65536,
        enabled: true,
        inconsistent: false,
        "dirty-bytes": 131072,
      },
      { name: "tuesday", granularity: 512, enabled: false, inconsistent: false, "dirty-bytes": 0 },
      { name: "\x1b[2J", granularity: 4096, enabled: true, inconsistent: true },
    ]);
  });

  it("hands actions over in their order", async () => {
    let seen: unknown;
    const bitmap: Commands["bitmap"] = async (options) => {
      seen = options;
    };
    const words =
      "bitmap --merge a --add -g 1M --disable --merge b -b other -F qcow2 -f qcow2 x name";
    for (const [name, said] of [
      ["qemu-img", ""],
      ["platter", "Done: merged into, added, disabled, merged into name\n"],
    ] as const) {
      expect(await run(name, words.split(" "), { bitmap })).toEqual({
        stdout: said,
        stderr: "",
        code: 0,
      });
      expect(seen).toEqual({
        name: "x",
        format: "qcow2",
        imageOpts: false,
        bitmap: "name",
        granularity: 1 << 20,
        actions: [
          { kind: "merge", source: "a" },
          { kind: "add" },
          { kind: "disable" },
          { kind: "merge", source: "b" },
        ],
        source: { name: "other", format: "qcow2" },
      });
    }
    const json = await run("platter", ["bitmap", "--json", "--clear", "x", "name"], { bitmap });
    expect(JSON.parse(json.stdout)).toEqual({ filename: "x", bitmap: "name", done: ["clear"] });
  });

  it("says what is wrong with the command line", async () => {
    const line = async (words: string): Promise<string> =>
      (await run("platter", words.split(" "))).stderr;
    expect(await line("bitmap x name")).toContain("Say what to do with the bitmap");
    expect(await line("bitmap --add x")).toContain("Name the image and the bitmap");
    expect(await line("bitmap --clear -g 1M x y")).toContain("-g is about bitmaps");
  });
});
