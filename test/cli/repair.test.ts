/** `check -r`, side by side with qemu-img, on images that have been damaged in the same way. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hasPeer, peer, runOurs } from "./harness.ts";
import { expectSideBySide } from "./side-by-side.ts";

/** An image of clusters of 64 KiB: header, refcount table and block, L1, L2, then 18 data clusters. */
const image = ["create -q -f qcow2 a.qcow2 4M", "io a.qcow2 write -P 1 0 1M; write -P 2 2M 128k"];
const refcountTable = 0x1_0000;
const refcountBlock = 0x2_0000;
const l1 = 0x3_0000;
const l2 = 0x4_0000;

const count = (cluster: number, value: number): string =>
  `poke a.qcow2 ${refcountBlock + cluster * 2} ${value.toString(16).padStart(4, "0")}`;
const unalignedBlock = `poke a.qcow2 ${refcountTable} 0000000000020200`;
const entry = (index: number, hex: string): string => `poke a.qcow2 ${l2 + index * 8} ${hex}`;

/** Each kind of damage, and whether what is repaired ends up at other places than with QEMU. */
const damages: Readonly<
  Record<string, { readonly lines: readonly string[]; readonly moves?: true }>
> = {
  nothing: { lines: [] },
  leaks: { lines: [count(40, 1), count(41, 1), count(7, 3)] },
  "a leak behind the end of the file": { lines: [count(100, 1)] },
  "refcounts too low": { lines: [count(6, 0x0), count(8, 5)], moves: true },
  "a refcount of two, counted once too often": { lines: [count(9, 2)] },
  "a data cluster used twice": { lines: [entry(1, "8000000000050000")] },
  "a data cluster used twice, and counted so": {
    lines: [entry(1, "8000000000050000"), count(5, 2), count(6, 0)],
  },
  "the copied flag missing": { lines: [entry(3, "0000000000080000")] },
  "the copied flag missing in L1": { lines: [`poke a.qcow2 ${l1} 0000000000040000`] },
  "the copied flag on shared data": { lines: [count(10, 2)] },
  "reserved bits in L2": { lines: [entry(3, "8100000000080000")] },
  "reserved bits in L1": { lines: [`poke a.qcow2 ${l1} 8100000000040000`] },
  "unaligned data": { lines: [entry(3, "8000000000080200")] },
  "unaligned preallocated zeros": { lines: [entry(3, "8000000000080201")] },
  "data behind the end of the file": { lines: [entry(3, "80000000ff000000")] },
  "an L2 table behind the end of the file": { lines: [`poke a.qcow2 ${l1} 80000000ff000000`] },
  "no refcount block": { lines: [`poke a.qcow2 ${refcountTable} 0000000000000000`], moves: true },
  "a refcount block counted twice": {
    lines: [`poke a.qcow2 ${refcountTable + 8} 0000000000020000`],
    moves: true,
  },
  "a refcount block that is data": {
    lines: [entry(3, "8000000000020000")],
    moves: true,
  },
  dirty: { lines: ["poke a.qcow2 79 01"] },
  "dirty, with refcounts too high and too low": {
    lines: ["poke a.qcow2 79 01", count(40, 1), count(9, 2), entry(1, "8000000000050000")],
  },
  "corrupt, but nothing is wrong": { lines: ["poke a.qcow2 79 02"] },
  "corrupt, with a leak": { lines: ["poke a.qcow2 79 02", count(40, 1)] },
};

/** Where the image ends depends on where new refcounts went. */
const withoutEnd = (text: string): string =>
  text.replaceAll(/(Image end offset|"image-end-offset"): \d+/g, "$1");

const ours = (program: string, ...words: string[]) => runOurs(words, { program });

/** An image of ours to try things on, with one thing changed in it. */
async function withDamaged(
  damage: (bytes: Buffer) => void,
  task: (file: string) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "platter-repair-"));
  try {
    const file = join(directory, "a.qcow2");
    peer(["create", "-q", "-f", "qcow2", file, "4M"]);
    spawnSync("qemu-io", ["-c", "write -P 1 0 1M", file]);
    const bytes = readFileSync(file);
    damage(bytes);
    writeFileSync(file, bytes);
    await task(file);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe.skipIf(!hasPeer)("check -r, beside qemu-img", () => {
  for (const [name, { lines, moves }] of Object.entries(damages)) {
    for (const what of ["leaks", "all"]) {
      // QEMU takes the mark away when it closes the image, whatever is left.
      if (what === "leaks" && name.startsWith("dirty, with")) continue;
      it(`${what}: ${name}`, async () => {
        const tilde = moves === true ? "~" : "";
        await expectSideBySide(
          [
            ...image,
            ...lines,
            "check a.qcow2",
            `${tilde}check -r ${what} a.qcow2`,
            "check a.qcow2",
            "check --output=json a.qcow2",
          ],
          { mask: moves === true ? withoutEnd : (text) => text },
        );
      });
    }
  }

  it("tells what cannot be counted", async () => {
    await expectSideBySide([...image, unalignedBlock, "check a.qcow2"]);
  });

  it("makes refcounts anew where qemu-img gives up", () =>
    withDamaged(
      (bytes) => bytes.writeBigUInt64BE(BigInt(refcountBlock + 512), refcountTable),
      async (file) => {
        expect(await ours("qemu-img", "check", "-r", "all", file)).toMatchObject({ code: 0 });
        expect(peer(["check", file])).toMatchObject({ stderr: "", code: 0 });
      },
    ));

  it("shows what it would write, and writes nothing, with --dry-run", () =>
    withDamaged(
      (bytes) => {
        bytes.fill(0, l2 + 24, l2 + 32);
        bytes.writeUInt16BE(2, refcountBlock + 2 * 9);
        bytes.writeUInt32BE(0, l2);
      },
      async (file) => {
        const before = readFileSync(file);
        const shown = await ours("platter", "check", "--repair=all", "--dry-run", file);
        expect(shown.stdout).toContain("Would repair: 1 errors, 2 lost clusters.");
        expect(shown.stdout).toContain("It would write to the file:");
        expect(readFileSync(file).equals(before)).toBe(true);
        const json = await ours("platter", "check", "--repair=all", "--dry-run", "--json", file);
        const { writes } = JSON.parse(json.stdout) as {
          writes: Array<{ offset: number; length: number }>;
        };
        const repaired = await ours("platter", "check", "--repair=all", file);
        expect(repaired.stdout).toContain("Repaired: 1 errors, 2 lost clusters.");
        const after = readFileSync(file);
        // Every byte that differs is in a range that was announced.
        const announced = (at: number) =>
          writes.some(({ offset, length }) => offset <= at && at < offset + length);
        const silent = [...after.keys()].filter((at) => after[at] !== before[at] && !announced(at));
        expect(silent).toEqual([]);
        expect(peer(["check", file])).toMatchObject({ stderr: "", code: 0 });
      },
    ));

  it("prints JSON, and is quiet", async () => {
    await expectSideBySide([
      ...image,
      count(40, 1),
      "check -r leaks --output=json a.qcow2",
      count(40, 1),
      "check -q -r all a.qcow2",
      count(40, 1),
      "check -U -r all a.qcow2",
      "check -r nothing a.qcow2",
      "check -r",
      "create -q -f raw r.raw 1M",
      "check -f raw -r all r.raw",
      "check -r all missing.qcow2",
    ]);
  });

  it("opens a dirty image for writing after repairing it", async () => {
    await expectSideBySide(
      [
        ...image,
        count(40, 1),
        count(9, 2),
        "poke a.qcow2 79 01",
        "info a.qcow2",
        "resize a.qcow2 8M",
        "check a.qcow2",
        "poke a.qcow2 79 02",
        "resize a.qcow2 9M",
        "info a.qcow2",
      ],
      { mask: (text) => text.replaceAll(/disk size: .*/g, "") },
    );
  });

  for (const options of [
    "cluster_size=512",
    "refcount_bits=1",
    "refcount_bits=64",
    "extended_l2=on",
    "compat=0.10",
  ]) {
    it(`with snapshots and ${options}`, async () => {
      const snapshots = options === "refcount_bits=1" ? [] : ["snapshot -c one a.qcow2"];
      await expectSideBySide([
        `create -q -f qcow2 -o ${options} a.qcow2 4M`,
        "io a.qcow2 write -P 1 0 1M; write -P 2 2M 128k",
        ...snapshots,
        "io a.qcow2 write -P 3 512k 64k",
        // The last data is no longer referred to.
        options === "cluster_size=512"
          ? "poke a.qcow2 4096 00"
          : "poke a.qcow2 262160 0000000000000000",
        "check a.qcow2",
        "~check -r leaks a.qcow2",
        "~check -r all a.qcow2",
        "check a.qcow2",
      ]);
    });
  }
});
