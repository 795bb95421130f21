/** Backing chains, beside qemu-img and qemu-io: depth, sizes, copy-on-write, names, loops, policy. */
import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { compare, create, info, open } from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import {
  KiB,
  MiB,
  errorOf,
  expectSameView,
  generator,
  noise,
  ourMap,
  temporaryDirectory,
  theirMap,
} from "./kit.ts";

describePeer(["qemu-img@7.2", "qemu-io@7.2"], "backing chains", (qemuImg, qemuIo) => {
  const root = temporaryDirectory();
  let directory = "";
  let count = 0;
  beforeEach(() => {
    directory = join(root, String(count++));
    mkdirSync(directory);
  });
  const path = (name: string): string => join(directory, name);

  /** Both read from `image` what `expected` says; our map and check are theirs. */
  async function expectContents(image: string, expected: Uint8Array): Promise<void> {
    {
      await using disk = await open(image, { references: "follow" });
      expect(disk.size).toBe(expected.length);
      const actual = new Uint8Array(expected.length);
      await disk.read(0, actual);
      expect(Buffer.compare(actual, expected), `${image}, read by us`).toBe(0);
    }
    writeFileSync(path("expected.raw"), expected);
    await qemuImg.run(["compare", "-f", "qcow2", "-F", "raw", image, path("expected.raw")]);
    await expectSameView(qemuImg, image);
  }

  /** The contents of a disk of `size` bytes over `below`: what is missing there is zeros. */
  function grown(below: Uint8Array, size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    bytes.set(below.subarray(0, size));
    return bytes;
  }

  describe.each(["ours", "theirs"])("written by %s", (writer) => {
    it.each([1, 2, 3, 4, 5, 6])("a chain of %d overlays of all shapes", async (depth) => {
      const next = generator(depth);
      // The last sector of the base is not there in full.
      let expected = noise(700 * KiB + 100, depth);
      writeFileSync(path("0"), expected);
      expected = grown(expected, Math.ceil(expected.length / 512) * 512);
      const shapes = [65536, 512, 4096, 2 * MiB, 1024, 16384];
      for (let level = 1; level <= depth; level++) {
        const size = [0, 900, 500, 1200, 1200, 300, 800][level]! * KiB + 512 * next(3);
        const name = path(String(level));
        const backing = { name: String(level - 1), format: level === 1 ? "raw" : "qcow2" };
        const formatOptions = {
          cluster_size: shapes[level - 1]!,
          ...(level % 3 === 0 && { compat: "0.10" }),
        };
        await create({ name, format: "qcow2", size, backing, formatOptions });
        expected = grown(expected, size);
        const args: string[] = [];
        await using disk = await open(name, { writable: true, references: "follow" });
        for (let i = 0; i < 12; i++) {
          const at = 512 * next(size / 512);
          const length = Math.min(size - at, 512 * (1 + next(60)));
          const pattern = next(3) === 0 ? 0 : 1 + next(255);
          expected.fill(pattern, at, at + length);
          if (writer === "theirs") {
            args.push("-c", `write ${pattern === 0 ? "-z" : `-P ${pattern}`} ${at} ${length}`);
          } else if (pattern === 0) await disk.writeZeroes(at, length, { unmap: i % 2 === 0 });
          else await disk.write(at, new Uint8Array(length).fill(pattern));
        }
        await disk.close();
        if (args.length > 0) await qemuIo.run(["-f", "qcow2", ...args, name]);
        await expectContents(name, expected);
      }
    });
  });

  it.each([512, 4096, 65536, 2 * MiB])(
    "writes at odd offsets copy what is beside them, in clusters of %d bytes",
    async (clusterSize) => {
      const expected = noise(5 * MiB + 512, clusterSize);
      writeFileSync(path("base"), expected);
      const name = path("top");
      await create({
        name,
        format: "qcow2",
        backing: { name: "base", format: "raw" },
        formatOptions: { cluster_size: clusterSize },
      });
      await using disk = await open(name, { writable: true, references: "follow" });
      const next = generator(clusterSize);
      for (const length of [
        1,
        3,
        511,
        513,
        clusterSize - 1,
        clusterSize + 1,
        2 * clusterSize + 7,
      ]) {
        const at = next(expected.length - length);
        const bytes = noise(length, length);
        await disk.write(at, bytes);
        expected.set(bytes, at);
      }
      // To the last byte of the disk, and zeros over parts of clusters.
      await disk.write(expected.length - 5, new Uint8Array(5).fill(7));
      expected.fill(7, expected.length - 5);
      const holes = [
        [clusterSize / 2, 3 * clusterSize],
        [MiB + 1, 1],
        [expected.length - 700, 300],
      ] as const;
      for (const [at, length] of holes) {
        const cut = Math.min(length, expected.length - at);
        await disk.writeZeroes(at, cut);
        expected.fill(0, at, at + cut);
      }
      await disk.close();
      await expectContents(name, expected);
    },
  );

  it("a backing file of odd length ends in zeros, whatever is behind its last byte", async () => {
    for (const length of [1, 511, 513, 65537, 131071]) {
      const bytes = noise(length, length);
      writeFileSync(path("base"), bytes);
      const name = path("top");
      const size = 192 * KiB;
      await create({ name, format: "qcow2", size, backing: { name: "base", format: "raw" } });
      await expectContents(name, grown(bytes, size));
      await using disk = await open(name, { writable: true, references: "follow" });
      const at = Math.max(0, length - 1);
      await disk.write(at + 3, new Uint8Array([1, 2, 3]));
      await disk.close();
      const expected = grown(bytes, size);
      expected.set([1, 2, 3], at + 3);
      await expectContents(name, expected);
    }
  });

  it("a backing file that becomes longer or shorter than the overlay", async () => {
    const bytes = noise(256 * KiB, 3);
    const name = path("top");
    writeFileSync(path("base"), bytes);
    await create({ name, format: "qcow2", backing: { name: "base", format: "raw" } });
    writeFileSync(path("base"), noise(MiB, 4));
    await expectContents(name, noise(MiB, 4).slice(0, bytes.length));
    truncateSync(path("base"), 100 * KiB);
    await expectContents(name, grown(noise(MiB, 4).slice(0, 100 * KiB), bytes.length));
  });

  it("relative names are found beside the image that has them, from any directory", async () => {
    mkdirSync(path("a/b"), { recursive: true });
    mkdirSync(path("c"));
    const bytes = noise(128 * KiB, 5);
    writeFileSync(path("c/base.raw"), bytes);
    const middle = path("a/middle");
    const top = path("a/b/top");
    await create({
      name: middle,
      format: "qcow2",
      backing: { name: "../c/base.raw", format: "raw" },
    });
    await create({ name: top, format: "qcow2", backing: { name: "../middle", format: "qcow2" } });
    await expectContents(top, bytes);
    const found = await info({ name: top, backingChain: true });
    const { stdout } = await qemuImg.run(["info", "--backing-chain", "--output=json", top]);
    const theirs = JSON.parse(stdout) as Array<Record<string, unknown>>;
    expect(found.map((image) => [image.backingFilename, image.fullBackingFilename])).toEqual(
      theirs.map((image) => [image["backing-filename"], image["full-backing-filename"]]),
    );
    // Through a symbolic link, "beside" is beside the link, as with QEMU.
    symlinkSync(top, path("link"));
    const error = await errorOf(open(path("link"), { references: "follow" }));
    expect(error.code).toBe("E_NOT_FOUND");
    const { status, stderr } = await qemuImg.attempt(["map", path("link")]);
    expect(status).toBe(1);
    expect(stderr).toContain("No such file or directory");
  });

  describe("a loop is refused", () => {
    const make = async (name: string, backing: string): Promise<void> => {
      const reference = { name: backing, format: "qcow2" };
      const size = MiB;
      await create({ name: path(name), format: "qcow2", size, unsafe: true, backing: reference });
    };

    it.each([
      [
        "of one image",
        async () => make("one", "one.link").then(() => symlinkSync("one", path("one.link"))),
      ],
      [
        "of three images",
        async () => {
          await make("one", "two");
          await make("two", "three");
          await make("three", "one");
        },
      ],
      [
        "through a hard link",
        async () => {
          await make("one", "two");
          await make("two", "three");
          linkSync(path("one"), path("three"));
        },
      ],
      [
        "through a symbolic link",
        async () => {
          await make("one", "two");
          await make("two", path("three"));
          symlinkSync(path("one"), path("three"));
        },
      ],
    ])("%s", async (_, prepare) => {
      await prepare();
      const error = await errorOf(open(path("one"), { references: "follow" }));
      expect(error.code).toBe("E_CHAIN_LOOP");
      expect(error.message).not.toContain("\n");
      const listed = await errorOf(info({ name: path("one"), backingChain: true }));
      expect(listed.code).toBe("E_CHAIN_LOOP");
      // Alone, the image can still be looked at.
      await using disk = await open(path("one"), { references: "ignore" });
      expect(disk.size).toBe(MiB);
    });
  });

  it("a chain that is deeper than allowed is refused", async () => {
    writeFileSync(path("0"), noise(512));
    for (let level = 1; level <= 5; level++) {
      const backing = { name: String(level - 1), format: level === 1 ? "raw" : "qcow2" };
      await create({ name: path(String(level)), format: "qcow2", backing });
    }
    const follow = { references: "follow" } as const;
    const error = await errorOf(open(path("5"), { ...follow, maxDepth: 4 }));
    expect(error.code).toBe("E_CHAIN_DEPTH");
    await using disk = await open(path("5"), { ...follow, maxDepth: 5 });
    expect(disk.size).toBe(512);
  });

  describe("the open policy", () => {
    beforeEach(async () => {
      writeFileSync(path("base"), noise(128 * KiB, 9));
      const backing = { name: "base", format: "raw" };
      await create({ name: path("top"), format: "qcow2", backing });
    });

    it("denies by default", async () => {
      const error = await errorOf(open(path("top")));
      expect(error.code).toBe("E_REFERENCE_DENIED");
      expect(error.details).toMatchObject({ file: path("top"), value: "base" });
    });

    it("ignores what is behind when told: it reads as zeros", async () => {
      rmSync(path("base"));
      await using disk = await open(path("top"), { references: "ignore" });
      const bytes = new Uint8Array(1024).fill(1);
      await disk.read(0, bytes);
      expect(bytes.every((byte) => byte === 0)).toBe(true);
    });

    it("asks a function, which can open something else", async () => {
      renameSync(path("base"), path("elsewhere"));
      const asked: string[] = [];
      await using disk = await open(path("top"), {
        references: async (reference, image) => {
          asked.push(reference.name, image.name);
          const other = await open(path("elsewhere"), { format: "raw" });
          return other.image.storage;
        },
      });
      const bytes = new Uint8Array(512);
      await disk.read(0, bytes);
      expect(asked).toEqual(["base", path("top")]);
      expect(Buffer.compare(bytes, readFileSync(path("elsewhere")).subarray(0, 512))).toBe(0);
    });

    it("a missing backing file is an error that names both, in QEMU's words", async () => {
      rmSync(path("base"));
      const error = await errorOf(compare({ first: path("top"), second: path("top") }));
      expect(error.code).toBe("E_NOT_FOUND");
      expect(error.message).toContain(path("base"));
      const { stderr } = await qemuImg.attempt(["compare", path("top"), path("top")]);
      expect(`qemu-img: ${error.details.qemu}`).toBe(stderr.trimEnd());
    });

    it("a backing file of another format than the image says is not guessed", async () => {
      await qemuImg.run(["create", "-q", "-f", "qcow2", path("base"), "1M"]);
      await qemuImg.run(["rebase", "-u", "-b", "base", "-F", "raw", path("top")]);
      await using disk = await open(path("top"), { references: "follow" });
      const magic = new Uint8Array(4);
      await disk.read(0, magic);
      expect([...magic]).toEqual([0x51, 0x46, 0x49, 0xfb]);
      expect(await ourMap(path("top"))).toEqual(await theirMap(qemuImg, path("top")));
    });
  });
});
