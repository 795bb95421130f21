/** Images whose tables are wrong, in use: what qemu-io says of them we say, and the same is marked. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describePeer } from "../peers.ts";
import { ourIo, theirIo, type Said } from "./io.ts";
import { temporaryDirectory } from "./kit.ts";

const copied = 1n << 63n;

/** Where things are in an image with one cluster of data, of 64 KiB each, that QEMU makes. */
const place = {
  refcountTable: 0x1_0000,
  refcountBlock: 0x2_0000,
  l1: 0x3_0000,
  l2: 0x4_0000,
  data: 0x5_0000,
} as const;

/** A change of 8 bytes of the image. */
type Poke = readonly [at: number, value: bigint];

interface Damage {
  readonly what: string;
  readonly options?: string;
  readonly pokes: readonly Poke[];
  /** Scripts that are left out: QEMU leaves there what is wrong, looks at more, or later, than we do. */
  readonly not?: RegExp;
  /** What cannot be written is told at another time. */
  readonly early?: boolean;
  /** Words that may be others. */
  readonly mask?: RegExp;
}

const entry = (value: bigint): Poke => [place.l2, value];

const damages: readonly Damage[] = [
  { what: "unaligned data", pokes: [entry(copied | 0x5_0200n)] },
  { what: "unaligned data that is shared", pokes: [entry(0x5_0200n)] },
  { what: "unaligned place of zeros", pokes: [entry(copied | 0x5_0201n)] },
  { what: "unaligned place of zeros that is shared", pokes: [entry(0x5_0201n)] },
  { what: "unaligned L2 table", pokes: [[place.l1, copied | 0x4_0200n]] },
  { what: "unaligned L2 table that is shared", pokes: [[place.l1, 0x4_0200n]] },
  {
    what: "unaligned refcount block",
    pokes: [[place.refcountTable, 0x2_0200n]],
    not: /^discard|-z/,
  },
  { what: "free header", pokes: [[place.refcountBlock, 0x0000_0001_0001_0001n]] },
  {
    what: "free header, no L2 table",
    pokes: [
      [place.refcountBlock, 0x0000_0001_0001_0001n],
      [place.l1, 0n],
    ],
  },
  {
    what: "zeros in version 2",
    options: "compat=0.10",
    pokes: [entry(1n)],
    not: /^discard|-z 0 64k|-u/,
  },
  {
    what: "unaligned data in version 2",
    options: "compat=0.10",
    pokes: [entry(0x5_0200n | copied)],
  },
  {
    what: "data and zeros at once",
    options: "extended_l2=on",
    pokes: [[place.l2 + 8, 0x0000_0001_ffff_ffffn]],
    not: /-z 0 4k/,
  },
  {
    what: "subclusters without a place",
    options: "extended_l2=on",
    pokes: [entry(0n), [place.l2 + 8, 0x0000_0000_ffff_ffffn]],
    not: /^discard|-z/,
  },
  {
    what: "unaligned data with subclusters",
    options: "extended_l2=on",
    pokes: [entry(copied | 0x5_0200n)],
  },
  {
    what: "L2 table in the L1 table",
    pokes: [[place.l1 + 8, copied | BigInt(place.l1)]],
    early: true,
  },
  {
    what: "L2 table in the refcount table",
    pokes: [[place.l1, copied | BigInt(place.refcountTable)]],
    early: true,
  },
  {
    what: "L2 table in a refcount block",
    pokes: [[place.l1, copied | BigInt(place.refcountBlock)]],
    // Which of the two is written first is another matter, too.
    not: /-z/,
    mask: /(refcount block|active L2 table)/,
    early: true,
  },
];

/** Zeroing has a look at the cluster first, and QEMU writes it, in vain, when that has failed. */
const withoutMedium = (said: string, i: number): string =>
  i === 0 ? said.replace("No medium found", "Input/output error") : said;

const scripts: ReadonlyArray<readonly string[]> = [
  ["read 0 64k", "read 0 64k", "write 1M 64k", "read 1M 4k"],
  ["write -P 2 0 64k", "read 0 4k", "write 0 64k"],
  ["write -P 2 4k 4k", "read 4k 4k"],
  ["write -P 2 1M 64k", "read 1M 64k", "write -P 3 600M 4k"],
  ["write -P 2 0 256k", "read 0 4k"],
  ["write -c -P 2 1M 64k", "read 1M 64k"],
  ["discard 0 64k", "read 0 64k"],
  ["write -z 0 64k", "read 0 64k"],
  ["write -z -u 0 64k", "read 0 64k"],
  ["write -z 0 4k", "read 0 64k"],
];

describePeer(["qemu-img@7.2", "qemu-io"], "damage that is met on the way", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const file = (name: string): string => join(directory, name);

  async function damaged({ options, pokes }: Damage): Promise<Buffer> {
    const image = file("base");
    const more = options === undefined ? [] : ["-o", options];
    await qemuImg.run(["create", "-q", "-f", "qcow2", ...more, image, "1G"]);
    await qemuIo.run(["-c", "write -P 1 0 64k", image]);
    const bytes = readFileSync(image);
    for (const [at, value] of pokes) bytes.writeBigUInt64BE(value, at);
    return bytes;
  }

  for (const damage of damages) {
    for (const readOnly of [false, true]) {
      test(`${damage.what}, open for ${readOnly ? "reading" : "writing"}`, async () => {
        const image = await damaged(damage);
        const [ours, theirs] = [file("ours"), file("theirs")];
        for (const script of scripts) {
          if (damage.not?.test(script[0]!) === true) continue;
          const commands = readOnly ? script.filter((line) => line.startsWith("read")) : script;
          if (readOnly && commands.length === 0) continue;
          for (const name of [ours, theirs]) writeFileSync(name, image);
          const expected = await theirIo(qemuIo, theirs, commands, { readOnly });
          const said = await ourIo(ours, commands, { readOnly });
          const compared = ({ commands: done, damage: told }: Said): unknown => ({
            commands,
            ...(damage.early !== true && { done: done.map(withoutMedium) }),
            told: told
              .filter((line) => line.startsWith("qcow2: "))
              .map((line) => (damage.mask === undefined ? line : line.replace(damage.mask, ""))),
          });
          expect.soft(compared(said)).toEqual(compared(expected));
          const mark = (name: string): number => readFileSync(name)[79]!;
          expect.soft([commands, mark(ours)]).toEqual([commands, mark(theirs)]);
        }
      });
    }
  }
});
