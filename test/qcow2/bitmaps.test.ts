/**
 * Persistent bitmaps beside QEMU: what guest writes and resizes leave in them, byte for byte; images that
 * were left open; bitmaps that do not count any more; and directories that nobody should trust.
 */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, it } from "vitest";
import { PlatterError, check, info, listBitmaps, open } from "../../src/index.ts";
import { describePeer, type Peer } from "../peers.ts";
import { KiB, MiB, fileDifference, generator, temporaryDirectory } from "./kit.ts";

const directory = temporaryDirectory();
let count = 0;

interface Pair {
  readonly ours: string;
  readonly theirs: string;
}

/** The same image twice, made by QEMU: `create` options, size, and `bitmap` command lines. */
async function pair(
  qemuImg: Peer,
  options: string,
  size: string,
  bitmaps: readonly string[],
): Promise<Pair> {
  const place = join(directory, String(++count));
  await mkdir(place);
  const theirs = join(place, "theirs.qcow2");
  const ours = join(place, "ours.qcow2");
  await qemuImg.run(["create", "-f", "qcow2", "-o", options, theirs, size]);
  for (const line of bitmaps) {
    const [name = "", ...words] = line.split(" ").toReversed();
    await qemuImg.run(["bitmap", ...words.toReversed(), theirs, name]);
  }
  await cp(theirs, ours);
  return { ours, theirs };
}

type Verb = "write" | "zero" | "discard" | "compressed";

/** A random request: [verb, offset, length]. */
function requests(seed: number, size: number, cluster: number): Array<[Verb, number, number]> {
  const next = generator(seed);
  return Array.from({ length: 12 }, () => {
    const verb = (["write", "write", "zero", "discard", "compressed"] as const)[next(5)]!;
    if (verb === "compressed") return [verb, next(Math.floor(size / cluster)) * cluster, cluster];
    const at = next(size - 512);
    return [verb, at, 1 + next(Math.min(size - at, 300 * KiB))];
  });
}

const ioVerbs = {
  write: "write -P 7",
  zero: "write -z -u",
  discard: "discard",
  compressed: "write -c -P 7",
};

describePeer(["qemu-img@7.2", "qemu-io"], "bitmaps beside QEMU", (qemuImg, qemuIo) => {
  const layouts = [
    { options: "cluster_size=64k", size: 4 * MiB, bitmaps: ["--add b", "--add --disable c"] },
    { options: "cluster_size=512", size: MiB, bitmaps: ["--add -g 512 b", "--add -g 1M c"] },
    { options: "cluster_size=4k", size: 3 * MiB + 512, bitmaps: ["--add -g 512 b"] },
    { options: "cluster_size=2M", size: 9 * MiB + 1536, bitmaps: ["--add -g 4k b", "--add x"] },
  ];
  describe.each(layouts)("of $options", ({ options, size, bitmaps }) => {
    const [, digits = "", unit = ""] = /(\d+)(k|M)?/.exec(options)!;
    const cluster = Number(digits) * (unit === "M" ? MiB : unit === "k" ? KiB : 1);

    it.for(Array.from({ length: 3 * inject("effort") }, (_, i) => i + 1))(
      "guest writes set the bits that QEMU sets, seed %d",
      async (seed) => {
        const { ours, theirs } = await pair(qemuImg, options, String(size), bitmaps);
        const script = requests(seed, size, cluster);
        const commands = script.flatMap(([verb, at, length]) => [
          "-c",
          `${ioVerbs[verb]} ${at} ${length}`,
        ]);
        // QEMU fails to write compressed where something is, and sets the bits all the same.
        await qemuIo.attempt(["-f", "qcow2", ...commands, theirs]);
        const disk = await open(ours, { writable: true });
        for (const [verb, at, length] of script) {
          if (verb === "write") await disk.write(at, new Uint8Array(length).fill(7));
          else if (verb === "zero") await disk.writeZeroes(at, length);
          else if (verb === "discard") await disk.discard(at, length);
          else await disk.writeCompressed(at, new Uint8Array(length).fill(7));
        }
        await disk.close();
        expect(await listBitmaps({ name: ours })).toEqual(await listBitmaps({ name: theirs }));
        expect(await ranges(ours)).toEqual(await ranges(theirs));
        await qemuImg.run(["check", ours]);
        const counts = await check({ name: ours });
        expect(counts).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
      },
    );

    it("plain writes lead to the same file", async () => {
      const { ours, theirs } = await pair(qemuImg, options, String(size), bitmaps);
      const at = [0, 70_000, 300_000, size - 1000];
      const commands = at.flatMap((offset) => ["-c", `write -P 9 ${offset} 900`]);
      await qemuIo.run(["-f", "qcow2", ...commands, theirs]);
      const disk = await open(ours, { writable: true });
      for (const offset of at) await disk.write(offset, new Uint8Array(900).fill(9));
      await disk.close();
      expect(await fileDifference(ours, theirs)).toBeUndefined();
    });

    it.each([size * 3 + 512, size - 512, Math.floor(size / 1536) * 512, 512])(
      "resized to %d",
      async (to) => {
        const { ours, theirs } = await pair(qemuImg, options, String(size), bitmaps);
        const writes = [
          `write 0 1000`,
          `write ${size - 700} 700`,
          `write ${Math.floor(size / 2)} 9`,
        ];
        for (const file of [ours, theirs]) {
          await qemuIo.run(["-f", "qcow2", ...writes.flatMap((line) => ["-c", line]), file]);
        }
        await qemuImg.run(["resize", "--shrink", "-f", "qcow2", theirs, String(to)]);
        const disk = await open(ours, { writable: true });
        await disk.resize(to);
        await disk.close();
        expect(await ranges(ours)).toEqual(await ranges(theirs));
        await qemuImg.run(["check", ours]);
        await qemuImg.run(["info", ours]);
      },
    );
  });

  it("an image is marked while it is open for writing, and not while it is read", async () => {
    const { ours, theirs } = await pair(qemuImg, "cluster_size=64k", "4M", ["--add b"]);
    const reader = await open(ours);
    await reader.read(0, new Uint8Array(512));
    await reader.close();
    expect(await fileDifference(ours, theirs)).toBeUndefined();
    const disk = await open(ours, { writable: true });
    await disk.write(0, new Uint8Array(512));
    await disk.flush();
    const copy = `${ours}.copy`;
    await cp(ours, copy);
    const bitmaps = await disk.image.bitmaps!();
    expect(bitmaps.list()).toMatchObject([{ name: "b", inconsistent: false }]);
    await disk.close();
    expect(await listBitmaps({ name: ours })).toMatchObject([{ dirtyBytes: 65536 }]);
    expect(await listBitmaps({ name: copy })).toMatchObject([{ inconsistent: true }]);
    const { stdout } = await qemuImg.run(["info", copy]);
    expect(stdout).toContain("in-use");
    await using killed = await open(copy, { writable: true });
    await expect(killed.resize(MiB)).rejects.toMatchObject({ code: "E_BITMAP_INCONSISTENT" });
  });

  it("bitmaps are stored when opening fails behind the image", async () => {
    const { ours } = await pair(qemuImg, "cluster_size=64k", "4M", ["--add b"]);
    await qemuImg.run(["rebase", "-u", "-b", "missing", "-F", "raw", ours]);
    await expect(open(ours, { writable: true, references: "follow" })).rejects.toBeInstanceOf(
      PlatterError,
    );
    expect((await qemuImg.run(["info", "--output=json", ours])).stdout).not.toContain("in-use");
  });

  it("without the autoclear bit bitmaps do not count, and writing drops them", async () => {
    const { ours, theirs } = await pair(qemuImg, "cluster_size=64k", "4M", ["--add b"]);
    for (const file of [ours, theirs]) await patch(file, (bytes) => (bytes[95] = 0));
    const warnings: string[] = [];
    const context = { onWarning: (text: string) => warnings.push(text) };
    const [found] = await info({ name: ours }, context);
    expect(found!.formatSpecific).not.toHaveProperty("bitmaps");
    const { stderr } = await qemuImg.run(["info", ours]);
    expect(warnings.map((text) => `qemu-img: warning: ${text}`)).toEqual([stderr]);
    expect((await check({ name: ours }, context)).leaks).toBe(2);
    await qemuIo.run(["-f", "qcow2", "-c", "write -P 9 0 900", theirs]);
    const disk = await open(ours, { writable: true });
    await disk.write(0, new Uint8Array(900).fill(9));
    await disk.close();
    expect(await fileDifference(ours, theirs)).toBeUndefined();
  });

  describe("hostile", () => {
    it.each(hostile)("%s", async (_, { spoil, differs = false }) => {
      const { ours } = await pair(qemuImg, "cluster_size=4k", "4M", [
        "--add b",
        "--add -g 512 longer",
      ]);
      await qemuIo.run(["-f", "qcow2", "-c", "write 0 100k", ours]);
      await patch(ours, spoil);
      const before = await readFile(ours);
      const theirs = await qemuImg.attempt(["info", ours]);
      const found = await info({ name: ours }).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (found !== undefined) expect(found).toBeInstanceOf(PlatterError);
      const words = (found as PlatterError | undefined)?.details.qemu;
      const error = found === undefined ? "" : `qemu-img: ${words}\n`;
      if (differs) expect(found).toBeInstanceOf(PlatterError);
      else expect(error).toBe(theirs.stderr);
      // Nothing is written to what cannot be opened.
      if (found !== undefined) {
        await expect(open(ours, { writable: true })).rejects.toBeInstanceOf(PlatterError);
        expect(Buffer.compare(await readFile(ours), before)).toBe(0);
      } else await check({ name: ours });
    });
  });
});

/** What each bitmap of an image says has changed. */
async function ranges(name: string): Promise<unknown> {
  await using disk = await open(name);
  const bitmaps = await disk.image.bitmaps!();
  const found: unknown[] = [];
  for (const bitmap of bitmaps.list()) {
    found.push(bitmap);
    for await (const range of bitmaps.dirty(bitmap.name)) found.push(range);
  }
  return found;
}

/** Where things are in an image with bitmaps. */
interface Places {
  readonly view: DataView;
  /** The data of the extension. */
  readonly extension: number;
  readonly directory: number;
  /** The first bitmap's table. */
  readonly table: number;
}

async function patch(
  file: string,
  spoil: (bytes: Buffer, places: Places) => unknown,
): Promise<void> {
  const bytes = await readFile(file);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const extension = bytes.indexOf(Buffer.from([0x23, 0x85, 0x28, 0x75])) + 8;
  const at = Number(view.getBigUint64(extension + 16));
  spoil(bytes, { view, extension, directory: at, table: Number(view.getBigUint64(at)) });
  await writeFile(file, bytes);
}

interface Hostile {
  readonly spoil: (bytes: Buffer, places: Places) => unknown;
  /** We refuse what QEMU does not, or in other words. */
  readonly differs?: boolean;
}

/** What can be wrong with bitmaps; QEMU's opinion is asked in the test. */
const hostile: ReadonlyArray<readonly [string, Hostile]> = [
  ["nothing", { spoil: () => undefined }],
  ["no bitmaps", { spoil: (_, { view, extension: at }) => view.setUint32(at, 0) }],
  ["fewer bitmaps", { spoil: (_, { view, extension: at }) => view.setUint32(at, 1) }],
  ["more bitmaps", { spoil: (_, { view, extension: at }) => view.setUint32(at, 3) }],
  ["too many bitmaps", { spoil: (_, { view, extension: at }) => view.setUint32(at, 65536) }],
  ["reserved field", { spoil: (_, { view, extension: at }) => view.setUint32(at + 4, 1) }],
  ["extension too short", { spoil: (_, { view, extension: at }) => view.setUint32(at - 4, 16) }],
  ["empty directory", { spoil: (_, { view, extension: at }) => view.setBigUint64(at + 8, 0n) }],
  [
    "directory too short",
    { spoil: (_, { view, extension: at }) => view.setBigUint64(at + 8, 40n) },
  ],
  [
    "directory of odd length",
    { spoil: (_, { view, extension: at }) => view.setBigUint64(at + 8, 63n) },
  ],
  ["directory too long", { spoil: (_, { view, extension: at }) => view.setBigUint64(at + 8, 80n) }],
  [
    "huge directory",
    { spoil: (_, { view, extension: at }) => view.setBigUint64(at + 8, 1n << 40n) },
  ],
  [
    "directory longer than the file",
    { spoil: (_, { view, extension: at }) => view.setBigUint64(at + 8, 1n << 25n), differs: true },
  ],
  [
    "directory not aligned",
    { spoil: (_, { view, extension: at }) => view.setBigUint64(at + 16, 513n) },
  ],
  [
    "directory past the end",
    { spoil: (_, { view, extension: at }) => view.setBigUint64(at + 16, 1n << 40n), differs: true },
  ],
  [
    "directory at the end of all numbers",
    {
      spoil: (_, { view, extension: at }) => view.setBigUint64(at + 16, (1n << 64n) - 4096n),
      differs: true,
    },
  ],
  ["table nowhere", { spoil: (_, { view, directory: at }) => view.setBigUint64(at, 0n) }],
  ["table not aligned", { spoil: (_, { view, directory: at }) => view.setBigUint64(at, 4097n) }],
  [
    "table past the end",
    { spoil: (_, { view, directory: at }) => view.setBigUint64(at, 1n << 40n), differs: true },
  ],
  ["table without entries", { spoil: (_, { view, directory: at }) => view.setUint32(at + 8, 0) }],
  ["table too long", { spoil: (_, { view, directory: at }) => view.setUint32(at + 8, 2) }],
  [
    "table of 16 Mi entries",
    { spoil: (_, { view, directory: at }) => view.setUint32(at + 8, 2 ** 24) },
  ],
  [
    "table of 4 Gi entries",
    { spoil: (_, { view, directory: at }) => view.setUint32(at + 8, 2 ** 32 - 1) },
  ],
  ["unknown flag", { spoil: (_, { view, directory: at }) => view.setUint32(at + 12, 8) }],
  ["extra_data_compatible", { spoil: (_, { view, directory: at }) => view.setUint32(at + 12, 6) }],
  ["in use", { spoil: (_, { view, directory: at }) => view.setUint32(at + 12, 3) }],
  [
    "in use, and a table past the end",
    {
      spoil: (_, { view, directory: at }) => {
        view.setUint32(at + 12, 1);
        view.setBigUint64(at, 1n << 40n);
      },
    },
  ],
  ["another type", { spoil: (bytes, { directory: at }) => (bytes[at + 16] = 2) }],
  ["granularity too small", { spoil: (bytes, { directory: at }) => (bytes[at + 17] = 8) }],
  ["granularity too large", { spoil: (bytes, { directory: at }) => (bytes[at + 17] = 32) }],
  [
    "granularity of the table's size",
    { spoil: (bytes, { directory: at }) => (bytes[at + 17] = 9) },
  ],
  ["largest granularity", { spoil: (bytes, { directory: at }) => (bytes[at + 17] = 31) }],
  ["no name", { spoil: (_, { view, directory: at }) => view.setUint16(at + 18, 0) }],
  ["long name", { spoil: (_, { view, directory: at }) => view.setUint16(at + 18, 1024) }],
  ["longer name", { spoil: (_, { view, directory: at }) => view.setUint16(at + 18, 9) }],
  ["zero byte in a name", { spoil: (bytes, { directory: at }) => (bytes[at + 24] = 0) }],
  [
    "a name twice",
    {
      spoil: (bytes, { view, directory: at }) => {
        view.setUint16(at + 32 + 18, 1);
        bytes.write("b\0\0\0\0\0", at + 32 + 24, "latin1");
      },
    },
  ],
  ["extra data", { spoil: (_, { view, directory: at }) => view.setUint32(at + 20, 8) }],
  [
    "endless extra data",
    { spoil: (_, { view, directory: at }) => view.setUint32(at + 20, 2 ** 31 - 64) },
  ],
  ["reserved bits in the table", { spoil: (_, { view, table }) => view.setBigUint64(table, 2n) }],
  [
    "high bits in the table",
    { spoil: (_, { view, table }) => view.setBigUint64(table, 1n << 60n) },
  ],
  ["offset and all ones", { spoil: (_, { view, table }) => view.setBigUint64(table, 4097n) }],
  ["bits not aligned", { spoil: (_, { view, table }) => view.setBigUint64(table, 512n) }],
  ["all ones", { spoil: (_, { view, table }) => view.setBigUint64(table, 1n) }],
  [
    "bits past the end",
    { spoil: (_, { view, table }) => view.setBigUint64(table, 1n << 40n), differs: true },
  ],
];
