/**
 * Every command on images that a storage daemon, an NBD server or a virtual machine has open, the whole chain of
 * them: both faces refuse and allow as qemu-img does, and qemu-img's face says the same. Both sides' images
 * are held by the same program, so that each of them is started once for each way of holding.
 */
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { systemLibc } from "../src/host/index.ts";
import { peer, runOurs, wordsOf, withoutVarying } from "./cli/harness.ts";
import { type Hold, type Holder, holders } from "./holders.ts";
import { havePrograms, requireInCi, temporaryDirectory } from "./host-peer.ts";

const programs = ["qemu-img", ...Object.keys(holders)];
const able = havePrograms(...programs) && systemLibc().libc !== undefined;
requireInCi(...programs);

/** `over` is an overlay of what is held, `free` is by itself; nobody holds those two. */
const preparation = [
  "create -q -f raw base.raw 1M",
  "create -q -f qcow2 -b base.raw -F raw mid.qcow2 1M",
  "create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 1M",
  "create -q -f qcow2 -b top.qcow2 -F qcow2 over.qcow2 1M",
  "create -q -f qcow2 -o data_file=data.raw ext.qcow2 1M",
  "create -q -f raw plain.raw 1M",
  "create -q -f qcow2 free.qcow2 1M",
  "bitmap --add free.qcow2 b0",
  "snapshot -c s0 free.qcow2",
];

/** What is said about an image, in each place where it may be in a chain. */
const readings = ["top.qcow2", "over.qcow2", "mid.qcow2", "ext.qcow2"].flatMap((image) =>
  ["", "-U "].flatMap((share) => [
    `info ${share}${image}`,
    `info ${share}--backing-chain --output=json ${image}`,
    `check ${share}${image}`,
    `map ${share}${image}`,
    `compare ${share}${image} free.qcow2`,
    `measure ${share}-O qcow2 ${image}`,
    `convert ${share}-O qcow2 ${image} new.qcow2`,
    `dd ${share}if=${image} of=new.raw bs=64k count=1`,
    `snapshot ${share}-l ${image}`,
    `bench ${share}-c 1 -f qcow2 ${image}`,
    `check ${share.replace("-U", "--force-share")}--output=json ${image}`,
  ]),
);

/** What changes images; `over` itself is nobody's, and is as it was before each line. */
const changes = [
  ...["top.qcow2", "mid.qcow2", "ext.qcow2"].flatMap((image) => [
    `check -r all ${image}`,
    `resize ${image} 2M`,
    `snapshot -c s1 ${image}`,
    `snapshot -a s1 ${image}`,
    `snapshot -d s1 ${image}`,
    `amend -o lazy_refcounts=on ${image}`,
    `bitmap --add ${image} b1`,
    `bitmap --remove ${image} b1`,
    `bench -w -c 1 -f qcow2 ${image}`,
    `create -f qcow2 ${image} 1M`,
    `convert -O qcow2 free.qcow2 ${image}`,
    `convert -n -O qcow2 free.qcow2 ${image}`,
    `dd if=free.qcow2 of=${image} bs=64k count=1`,
    `create -f qcow2 -b ${image} -F qcow2 new.qcow2`,
    `create -f qcow2 -u -b ${image} -F qcow2 new.qcow2 1M`,
    `convert -O qcow2 -B ${image} -F qcow2 free.qcow2 new.qcow2`,
    `rebase -b ${image} -F qcow2 over.qcow2`,
    `rebase -u -b ${image} -F qcow2 over.qcow2`,
  ]),
  "commit top.qcow2",
  "commit -b base.raw top.qcow2",
  "commit over.qcow2",
  "commit -d over.qcow2",
  "rebase -b '' top.qcow2",
  "rebase -u -b '' top.qcow2",
  "rebase -b '' over.qcow2",
  "rebase -U -b '' over.qcow2",
  "resize over.qcow2 2M",
  "snapshot -c s1 over.qcow2",
  "bitmap --merge b0 -b free.qcow2 -F qcow2 top.qcow2 b1",
  "bitmap --merge b0 -b free.qcow2 -F qcow2 over.qcow2 b1",
  "create -f raw data.raw 1M",
  "create -f qcow2 -o data_file=data.raw new.qcow2 1M",
  "resize -f raw data.raw 2M",
  "convert -n -f raw -O raw plain.raw data.raw",
];

/** A raw disk is what more than one may write to. */
const rawLines = [
  ...["", "-U "].flatMap((share) => [
    `info ${share}-f raw plain.raw`,
    `map ${share}-f raw plain.raw`,
    `compare ${share}-f raw plain.raw free.qcow2`,
    `measure ${share}-f raw -O qcow2 plain.raw`,
    `convert ${share}-f raw -O qcow2 plain.raw new.qcow2`,
    `bench ${share}-c 1 -f raw plain.raw`,
  ]),
  "dd -f raw if=plain.raw of=new.raw bs=64k count=1",
  "resize -f raw plain.raw 1M",
  "bench -w -c 1 -f raw plain.raw",
  "convert -n -O raw free.qcow2 plain.raw",
  "convert -O qcow2 -B plain.raw -F raw free.qcow2 new.qcow2",
  "convert -O raw free.qcow2 plain.raw",
  "create -f raw plain.raw 1M",
  "create -f qcow2 -b plain.raw -F raw new.qcow2",
];

interface Way {
  readonly program: keyof typeof holders;
  readonly hold: Hold;
}
const ways: readonly Way[] = [
  ...(["for writing", "for reading"] as const).flatMap((hold) =>
    (["qemu-storage-daemon", "qemu-nbd", "qemu-system-x86_64"] as const).map((program) => ({
      program,
      hold,
    })),
  ),
  { program: "qemu-system-x86_64", hold: "shared" },
];

let compared = 0;
let refused = 0;
afterAll(() => {
  process.stdout.write(`locks: ${compared} command lines on held chains, ${refused} refused\n`);
});

describe.skipIf(!able).each(ways)("while $program has the images $hold", ({ program, hold }) => {
  const directory = temporaryDirectory();
  const clean = join(directory, "clean");
  const sides = [join(directory, "theirs"), join(directory, "ours")] as const;
  let holder: Holder | undefined;

  beforeAll(async () => {
    mkdirSync(clean);
    for (const line of preparation) {
      const { code, stderr } = peer(line.split(" "), clean);
      if (code !== 0) throw new Error(`${line}: ${stderr}`);
    }
    for (const side of sides) {
      mkdirSync(side);
      for (const name of readdirSync(clean)) copyFileSync(join(clean, name), join(side, name));
    }
    // Only a raw disk can have several writers.
    const chains = hold === "shared" ? "for writing" : hold;
    const images = sides.flatMap((side) => [
      { path: join(side, "top.qcow2"), format: "qcow2", hold: chains } as const,
      {
        path: join(side, "ext.qcow2"),
        format: "qcow2",
        hold: chains,
        dataFile: join(side, "data.raw"),
      } as const,
      { path: join(side, "plain.raw"), format: "raw", hold } as const,
    ]);
    holder = await holders[program](images, directory);
  }, 60_000);
  afterAll(() => holder?.[Symbol.asyncDispose]());

  test("every command does what qemu-img does", async () => {
    const all = hold === "shared" ? rawLines : [...readings, ...changes, ...rawLines];
    // All of them lock alike: every line for one of them, every fourth, from another one on, for the others.
    const every = program === "qemu-system-x86_64" || inject("effort") > 1 ? 1 : 4;
    const lines = all.filter((_, i) => (i + program.length) % every === 0);
    const names = readdirSync(clean).join(" ");
    const differing: unknown[] = [];
    for (const line of lines) {
      const words = wordsOf(line);
      const theirs = withoutVarying(peer(words, sides[0]));
      const ours = withoutVarying(await runOurs(words, { cwd: sides[1] }));
      const left = sides.map((side) => readdirSync(side).join(" "));
      const changed = tidy();
      const platter = await runOurs(words, { cwd: sides[1], program: "platter" });
      const friendly = {
        code: platter.code,
        locked: platter.stderr.includes("another program is using"),
      };
      tidy();
      compared++;
      const locked = theirs.stderr.includes(" lock");
      if (locked) refused++;
      const differs =
        JSON.stringify(theirs) !== JSON.stringify(ours) ||
        // What it has made, qemu-img leaves behind when it fails.
        left[1] !== (theirs.code === 0 ? left[0] : names) ||
        changed[0] !== changed[1] ||
        locked !== friendly.locked;
      if (differs) {
        differing.push({ line, theirs, ours, left, changed, friendly });
      }
    }
    expect(differing).toEqual([]);
  }, 120_000);

  /** Puts everything back; returns the names of the files that had changed, for each side. */
  function tidy(): string[] {
    return sides.map((side) => {
      const changed: string[] = [];
      for (const name of readdirSync(side)) {
        const path = join(side, name);
        if (name.startsWith("new.")) rmSync(path);
        else if (!readFileSync(path).equals(readFileSync(join(clean, name)))) {
          changed.push(name);
          // Over it, so that the file stays the one that is held.
          copyFileSync(join(clean, name), path);
        }
      }
      return changed.join(" ");
    });
  }
});
