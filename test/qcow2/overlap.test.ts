/** Writes that would destroy metadata: prevented where qemu-io prevents them, with its words and its marks. */
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { describePeer } from "../peers.ts";
import { ourIo, theirIo, type IoOptions } from "./io.ts";
import { KiB, temporaryDirectory } from "./kit.ts";

const clusterSize = 4 * KiB;
const copied = 1n << 63n;

const sections = [
  "main-header",
  "active-l1",
  "active-l2",
  "refcount-table",
  "refcount-block",
  "snapshot-table",
  "inactive-l1",
  "inactive-l2",
  "bitmap-directory",
] as const;
type Section = (typeof sections)[number];
const modes = ["none", "constant", "cached", "all"] as const;

/** Whether a mode looks for a section. */
function covers(mode: (typeof modes)[number], section: Section): boolean {
  if (mode === "constant") {
    return !["active-l2", "refcount-block", "inactive-l1", "inactive-l2"].includes(section);
  }
  return mode === "all" || (mode === "cached" && section !== "inactive-l2");
}

describePeer(["qemu-img@7.2", "qemu-io"], "overlap checks", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const file = (name: string): string => join(directory, name);
  let base: Buffer;
  let places: Record<Section, number>;

  beforeAll(async () => {
    const image = file("base");
    const create = ["create", "-q", "-f", "qcow2", "-o", `cluster_size=${clusterSize}`];
    await qemuImg.run([...create, image, "8M"]);
    await qemuIo.run(["-c", "write -P 1 0 256k", "-c", "write -P 2 4M 64k", image]);
    await qemuImg.run(["snapshot", "-c", "one", image]);
    await qemuIo.run(["-c", "write -P 3 0 64k", image]);
    await qemuImg.run(["bitmap", "--add", image, "bits"]);
    base = readFileSync(image);
    const u64 = (at: number): number => Number(base.readBigUInt64BE(at));
    const table = (at: number): number => Number(base.readBigUInt64BE(at) & 0xff_ffff_ffff_fe00n);
    const snapshots = u64(64);
    const extension = base.indexOf(Buffer.from("23852875", "hex"));
    places = {
      "main-header": 0,
      "active-l1": u64(40),
      "active-l2": table(u64(40)),
      "refcount-table": u64(48),
      "refcount-block": u64(u64(48)),
      "snapshot-table": snapshots,
      "inactive-l1": u64(snapshots),
      "inactive-l2": table(u64(snapshots)),
      "bitmap-directory": u64(extension + 24),
    };
  });

  test("each section has a place of its own", () => {
    expect(new Set(Object.values(places)).size).toBe(sections.length);
  });

  /** Both sides do the same to an image that has been damaged in the same way. */
  async function expectSame(
    damage: (image: Buffer) => void,
    commands: readonly string[],
    options: IoOptions = {},
  ): Promise<boolean> {
    const image = Buffer.from(base);
    damage(image);
    const [ours, theirs] = [file("ours"), file("theirs")];
    for (const name of [ours, theirs]) writeFileSync(name, image);
    const expected = await theirIo(qemuIo, theirs, commands, options);
    const said = await ourIo(ours, commands, options);
    // Where nothing is prevented, the image is destroyed, and what follows is nobody's business.
    if (expected.damage.length === 0) {
      expect({ said: said.commands[0], damage: said.damage }).toEqual({
        said: expected.commands[0],
        damage: [],
      });
      return false;
    }
    expect(said).toEqual(expected);
    expect(readFileSync(ours).equals(readFileSync(theirs)), "the same bytes").toBe(true);
    const again = await ourIo(ours, ["write 0 4k"]);
    expect(again.commands).toEqual(["qcow2: Image is corrupt; cannot be opened read/write"]);
    expect(again).toEqual(await theirIo(qemuIo, theirs, ["write 0 4k"]));
    return true;
  }

  /** Has guest cluster 0 lie where metadata is. */
  const misdirect = (section: Section) => (image: Buffer) =>
    image.writeBigUInt64BE(BigInt(places[section]) | copied, places["active-l2"]);

  /** Has the refcounts call the section's first cluster free, and nothing before it. */
  const free = (section: Section) => (image: Buffer) =>
    image.writeUInt16BE(0, places["refcount-block"] + (places[section] / clusterSize) * 2);

  const after = ["write -P 9 0 4k", "read 0 4k", "write 1M 4k", "discard 4M 64k", "flush"];

  for (const section of sections) {
    for (const mode of modes) {
      const runtime = { "overlap-check": mode };
      const covered = covers(mode, section);
      test.skipIf(section === "main-header")(`${mode}: data lies over ${section}`, async () => {
        expect(await expectSame(misdirect(section), after, { runtime })).toBe(covered);
      });

      test.skipIf(mode === "none")(`${mode}: ${section} is free, for data`, async () => {
        const commands = ["write -P 9 64k 4k", "read 0 4k"];
        expect(await expectSame(free(section), commands, { runtime })).toBe(covered);
      });

      test.skipIf(mode === "none")(
        `${mode}: ${section} is free, for a compressed cluster`,
        async () => {
          const commands = ["write -c -P 9 300k 4k", "read 0 4k"];
          expect(await expectSame(free(section), commands, { runtime })).toBe(covered);
        },
      );
    }

    test.skipIf(section === "main-header")(`${section} alone is checked, or left out`, async () => {
      const [on, off] = [{ "overlap-check": "none" }, { "overlap-check.template": "all" }];
      const name = `overlap-check.${section}`;
      const only = { ...on, [name]: "on" };
      expect(await expectSame(misdirect(section), after, { runtime: only })).toBe(true);
      const without = { ...off, [name]: "off" };
      expect(await expectSame(misdirect(section), after, { runtime: without })).toBe(false);
    });
  }

  test.each(sections)("%s is free, for an L2 table", async (section) => {
    const image = Buffer.from(base);
    free(section)(image);
    const [ours, theirs] = [file("ours"), file("theirs")];
    for (const name of [ours, theirs]) writeFileSync(name, image);
    const runtime = { "overlap-check": "all" };
    const commands = ["write -P 9 6M 4k", "read 6M 4k"];
    const said = await ourIo(ours, commands, { runtime });
    const expected = await theirIo(qemuIo, theirs, commands, { runtime });
    if (section === "active-l2") {
      // QEMU sees nothing in the way of a table where another one of its kind is, which is lost.
      expect(expected.damage).toEqual([]);
      expect(said.damage).toMatchObject([expect.stringContaining("overlaps with active L2 table")]);
    } else expect(said).toEqual(expected);
    // The mark, and that the bitmap is in use.
    const changed = [...readFileSync(ours).entries()].filter(([at, byte]) => byte !== image[at]);
    expect(changed.map(([at]) => at)).toEqual([79, places["bitmap-directory"] + 15]);
  });

  test("without a word about it, the check is that of what is cached", async () => {
    expect(await expectSame(misdirect("active-l2"), after)).toBe(true);
    expect(await expectSame(misdirect("inactive-l2"), after)).toBe(false);
  });

  test("a table of refcounts that points nowhere", async () => {
    const damage = (image: Buffer): void => {
      image.writeBigUInt64BE(0x4000_0000n, places["refcount-table"] + 8);
      misdirect("refcount-block")(image);
    };
    expect(await expectSame(damage, after)).toBe(true);
  });

  test("version 2 has no mark", async () => {
    const image = file("v2");
    await qemuImg.run(["create", "-q", "-f", "qcow2", "-o", "compat=0.10", image, "8M"]);
    await qemuIo.run(["-c", "write 0 64k", image]);
    const bytes = readFileSync(image);
    const l1 = Number(bytes.readBigUInt64BE(40));
    bytes.writeBigUInt64BE(BigInt(l1) | copied, Number(bytes.readBigUInt64BE(l1) & ~copied));
    writeFileSync(image, bytes);
    copyFileSync(image, file("theirs"));
    const said = await ourIo(image, after);
    expect(said).toEqual(await theirIo(qemuIo, file("theirs"), after));
    expect(said.damage).toHaveLength(1);
    expect(readFileSync(image).equals(bytes)).toBe(true);
  });
});
