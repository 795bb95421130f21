/**
 * Every command on files that somebody else has open: for each file of a chain, held for reading or
 * for writing by a `qemu-storage-daemon`, both programs say the same, end with the same code, and
 * leave the same files. Each program has a directory and a daemon of its own.
 */
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemLibc } from "../src/host/index.ts";
import { peer, runOurs, withoutVarying } from "./cli/harness.ts";
import { havePrograms, requireInCi, startDaemon, temporaryDirectory } from "./host-peer.ts";

const programs = ["qemu-img", "qemu-storage-daemon"] as const;
const able = havePrograms(...programs) && systemLibc().libc !== undefined;
requireInCi(...programs);

/** The files that there are: a chain of three, an image with a data file, and one by itself. */
const preparation = [
  "create -q -f raw base.raw 1M",
  "create -q -f qcow2 -b base.raw -F raw mid.qcow2 1M",
  "create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 1M",
  "create -q -f qcow2 -o data_file=data.raw ext.qcow2 1M",
  "create -q -f qcow2 alone.qcow2 1M",
  "bitmap --add top.qcow2 b0",
  "bitmap --add alone.qcow2 b0",
  "snapshot -c s0 alone.qcow2",
];

/** Which file the daemon has. */
const holds: Readonly<Record<string, { readonly file: string; readonly writable: boolean }>> = {
  "the image, for writing": { file: "top.qcow2", writable: true },
  "the image, for reading": { file: "top.qcow2", writable: false },
  "the backing file, for writing": { file: "mid.qcow2", writable: true },
  "the backing file, for reading": { file: "mid.qcow2", writable: false },
  "the end of the chain, for writing": { file: "base.raw", writable: true },
  "the data file, for writing": { file: "data.raw", writable: true },
  "the data file, for reading": { file: "data.raw", writable: false },
  "the other image, for writing": { file: "alone.qcow2", writable: true },
  "the other image, for reading": { file: "alone.qcow2", writable: false },
};

/** Every command, with and without -U where it has that, in each way that it opens files. */
const lines = [
  "info top.qcow2",
  "info -U top.qcow2",
  "info --backing-chain top.qcow2",
  "info -U --backing-chain --output=json top.qcow2",
  "info ext.qcow2",
  "info -U ext.qcow2",
  "check top.qcow2",
  "check -U top.qcow2",
  "check -r all top.qcow2",
  "check -r leaks ext.qcow2",
  "check ext.qcow2",
  "check -U ext.qcow2",
  "map top.qcow2",
  "map -U --output=json top.qcow2",
  "map ext.qcow2",
  "map -U ext.qcow2",
  "compare top.qcow2 alone.qcow2",
  "compare -U top.qcow2 alone.qcow2",
  "compare ext.qcow2 top.qcow2",
  "compare alone.qcow2 alone.qcow2",
  "measure -O qcow2 top.qcow2",
  "measure -U -O qcow2 top.qcow2",
  "measure -O raw ext.qcow2",
  "convert -O raw top.qcow2 new.raw",
  "convert -U -O raw top.qcow2 new.raw",
  "convert -O qcow2 top.qcow2 alone.qcow2",
  "convert -U -O qcow2 top.qcow2 alone.qcow2",
  "convert -n -O qcow2 top.qcow2 alone.qcow2",
  "convert -U -n -O qcow2 top.qcow2 alone.qcow2",
  "convert -n -O qcow2 alone.qcow2 ext.qcow2",
  "convert -O qcow2 -B mid.qcow2 -F qcow2 top.qcow2 new.qcow2",
  "convert -U -O qcow2 -B mid.qcow2 -F qcow2 top.qcow2 new.qcow2",
  "convert -O raw ext.qcow2 new.raw",
  "create -f qcow2 top.qcow2 1M",
  "create -f raw data.raw 1M",
  "create -f qcow2 -b top.qcow2 -F qcow2 new.qcow2",
  "create -f qcow2 -b top.qcow2 -F qcow2 new.qcow2 1M",
  "create -f qcow2 -u -b top.qcow2 -F qcow2 new.qcow2 1M",
  "create -f qcow2 -o data_file=data.raw new.qcow2 1M",
  "dd if=top.qcow2 of=new.raw bs=64k count=1",
  "dd -U if=top.qcow2 of=new.raw bs=64k count=1",
  "dd if=base.raw of=alone.qcow2 bs=64k count=1",
  "resize top.qcow2 2M",
  "resize ext.qcow2 2M",
  "resize -f raw data.raw 1M",
  "commit top.qcow2",
  "commit -d top.qcow2",
  "commit -b base.raw top.qcow2",
  "commit ext.qcow2",
  "rebase -b base.raw -F raw top.qcow2",
  "rebase -U -b base.raw -F raw top.qcow2",
  "rebase -u -b base.raw -F raw top.qcow2",
  "rebase -b '' top.qcow2",
  "rebase -b alone.qcow2 -F qcow2 mid.qcow2",
  "bitmap --add top.qcow2 b1",
  "bitmap --remove alone.qcow2 b0",
  "bitmap --merge b0 -b alone.qcow2 -F qcow2 top.qcow2 b0",
  "snapshot -l alone.qcow2",
  "snapshot -U -l alone.qcow2",
  "snapshot -c s1 alone.qcow2",
  "snapshot -a s0 alone.qcow2",
  "snapshot -d s0 alone.qcow2",
  "snapshot -c s1 top.qcow2",
  "amend -o compat=0.10 top.qcow2",
  "amend -o lazy_refcounts=on ext.qcow2",
  "bench -c 1 -f qcow2 top.qcow2",
  "bench -U -c 1 -f qcow2 top.qcow2",
  "bench -w -c 1 -f qcow2 ext.qcow2",
];

/** The one line where we refuse less: QEMU also asks that nobody reads the images in between, which stay. */
const difference = { title: "the backing file, for reading", line: "commit -b base.raw top.qcow2" };

let compared = 0;
let refused = 0;
afterAll(() => {
  process.stdout.write(`locks: ${compared} command lines on held files, ${refused} refused\n`);
});

describe.skipIf(!able).each(Object.entries(holds))("while a daemon has %s", (title, hold) => {
  const directory = temporaryDirectory();
  const clean = join(directory, "clean");
  const sides = [join(directory, "theirs"), join(directory, "ours")] as const;

  beforeAll(() => {
    mkdirSync(clean);
    for (const line of preparation) {
      const { code, stderr } = peer(line.split(" "), clean);
      if (code !== 0) throw new Error(`${line}: ${stderr}`);
    }
  });

  test("every command says what qemu-img says", async () => {
    for (const side of sides) fill(side);
    let daemons = await Promise.all(sides.map(held));
    const names = readdirSync(clean).join(" ");
    const differing: unknown[] = [];
    try {
      for (const line of lines) {
        const words = line.split(" ").map((word) => (word === "''" ? "" : word));
        const theirs = withoutVarying(peer(words, sides[0]));
        const ours = withoutVarying(await runOurs(words, { cwd: sides[1] }));
        compared++;
        const locked = theirs.stderr.includes(" lock");
        if (locked) refused++;
        const left = sides.map((side) => readdirSync(side).join(" "));
        const same = !locked || unchanged() || undamaged();
        const differs =
          JSON.stringify(theirs) !== JSON.stringify(ours) ||
          // What it has made, qemu-img leaves behind when it fails.
          (left[0] !== left[1] && (left[1] !== names || theirs.code === 0)) ||
          !same;
        if (differs !== (line === difference.line && title === difference.title))
          differing.push({ line, theirs, ours, left, same });
        if (locked && same && left[0] === left[1] && !left[1]!.includes("new.")) continue;
        await Promise.all(daemons.map((daemon) => daemon.stop()));
        for (const side of sides) fill(side);
        daemons = await Promise.all(sides.map(held));
      }
    } finally {
      await Promise.all(daemons.map((daemon) => daemon.stop()));
    }
    expect(differing).toEqual([]);
  });

  /** The directory as it is at first. */
  function fill(side: string): void {
    rmSync(side, { recursive: true, force: true });
    mkdirSync(side);
    for (const name of readdirSync(clean)) copyFileSync(join(clean, name), join(side, name));
  }

  /** Whether our side's files are those that there were. */
  function unchanged(): boolean {
    return readdirSync(clean).every((name) =>
      readFileSync(join(clean, name)).equals(readFileSync(join(sides[1], name))),
    );
  }

  /** An image with bitmaps may have them written anew, as QEMU does: nothing has become invalid. */
  function undamaged(): boolean {
    const shown = [clean, sides[1]].map((side) =>
      withoutVarying(peer(["info", "-U", "top.qcow2"], side)),
    );
    const { code } = peer(["check", "-U", "top.qcow2"], sides[1]);
    return code === 0 && JSON.stringify(shown[0]) === JSON.stringify(shown[1]);
  }

  /** A daemon that has the file, and only that file. */
  async function held(side: string) {
    return startDaemon(
      [
        "--blockdev",
        `driver=file,node-name=f,filename=${join(side, hold.file)},read-only=${hold.writable ? "off" : "on"}`,
        "--nbd-server",
        `addr.type=unix,addr.path=${side}.sock`,
        "--export",
        `type=nbd,id=e,node-name=f,writable=${hold.writable ? "on" : "off"}`,
      ],
      side,
    );
  }
});
