/**
 * `convert` beside `qemu-img convert`: the same contents always, and the same bytes where nothing is
 * compressed. LONG=1 takes every cluster size instead of a sample.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { check, compare, convert, create, open } from "../../src/index.ts";
import { describePeer, type Peer } from "../peers.ts";
import {
  KiB,
  MiB,
  clusterSizes,
  expectSameView,
  fileDifference,
  generator,
  noise,
  ourCheck,
  temporaryDirectory,
} from "./kit.ts";

const sampled = inject("effort") > 1 ? clusterSizes : [512, 4096, 65536, 2 * MiB];
const sparseSizes = {
  "0": 0,
  "512": 512,
  "4k": 4 * KiB,
  "12k": 12 * KiB,
  "64k": 64 * KiB,
  "1M": MiB,
};

/** A disk as they are: text, noise, runs of zeros of all lengths, holes, an odd end. */
function makeDisk(file: string, size: number, seed: number): void {
  const next = generator(seed);
  const words = ["disk", "image", "cluster", "table", "header", "\n", " "];
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size;) {
    const length = Math.min(size - at, 512 * (1 + next(next(4) === 0 ? 600 : 40)));
    const kind = next(4);
    if (kind === 0) bytes.set(noise(length, at), at);
    if (kind === 1) {
      let text = "";
      while (text.length < length) text += words[next(words.length)];
      bytes.write(text.slice(0, length), at, "latin1");
    }
    at += length;
  }
  writeFileSync(file, bytes);
}

describePeer(["qemu-img@7.2", "qemu-io@7.2"], "convert", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const path = (name: string): string => join(directory, name);
  const source = path("source.raw");
  const [ours, theirs] = [path("ours"), path("theirs")];
  const size = 5 * MiB + 512 * 3;
  const fromSource = { sources: [source], sourceFormat: "raw", targetFormat: "qcow2" } as const;

  beforeAll(() => {
    makeDisk(source, size, 1);
    // A hole of the file, besides written zeros.
    truncateSync(source, size + 3 * MiB);
  });

  async function expectSame(
    first: string,
    second: string,
    firstFormat = "qcow2",
    secondFormat = "raw",
  ): Promise<void> {
    await qemuImg.run(["compare", "-f", firstFormat, "-F", secondFormat, first, second]);
    expect(await compare({ first, second, firstFormat, secondFormat })).toMatchObject({
      identical: true,
    });
  }

  describe.each(sampled)("clusters of %d bytes", (clusterSize) => {
    it.each(Object.entries(sparseSizes))(
      "raw to qcow2 with -S %s makes the bytes that qemu-img makes",
      async (written, sparseSize) => {
        const targetOptions = { cluster_size: clusterSize };
        await convert({ ...fromSource, target: ours, targetOptions, sparseSize });
        await convertTheirs(qemuImg, source, theirs, [
          "-S",
          written,
          "-o",
          `cluster_size=${clusterSize}`,
        ]);
        await expectSame(ours, source);
        await expectSameView(qemuImg, ours);
        expect(await fileDifference(ours, theirs)).toBeUndefined();
      },
    );

    it.each(["zlib", "zstd"])("raw to %s to qcow2 to raw comes back", async (compression) => {
      const [packed, plain, back] = [path("packed"), path("plain"), path("back")];
      const targetOptions = { cluster_size: clusterSize, compression_type: compression };
      await convert({ ...fromSource, target: packed, compress: true, targetOptions });
      await expectSame(packed, source);
      await expectSameView(qemuImg, packed);
      const told = `cluster_size=${clusterSize},compression_type=${compression}`;
      await convertTheirs(qemuImg, source, theirs, ["-c", "-o", told]);
      await expectSame(packed, theirs, "qcow2", "qcow2");
      expect((await ourCheck(packed)).compressed).toBeGreaterThan(0);
      expect(statSync(packed).size).toBeLessThanOrEqual(statSync(theirs).size * 1.02 + clusterSize);

      // Theirs is read by us, and ours goes on through an uncompressed image to raw.
      await convert({ sources: [theirs], target: plain, targetFormat: "qcow2" });
      await expectSame(plain, source);
      await convert({ sources: [packed], target: plain, targetFormat: "qcow2" });
      await expectSameView(qemuImg, plain);
      await convert({ sources: [plain], target: back, targetFormat: "raw" });
      expect(readFileSync(back).equals(readFileSync(source))).toBe(true);
    });

    it("-n overwrites all of an image that is full of something else", async () => {
      const target = path("existing");
      const disk = statSync(source).size + 2 * clusterSize + 512;
      for (const compat of ["0.10", "1.1"]) {
        for (const preallocation of ["off", "full"]) {
          const formatOptions = { cluster_size: clusterSize, compat, preallocation };
          await create({ name: target, format: "qcow2", size: disk, formatOptions });
          await qemuIo.run(["-f", "qcow2", "-c", `write -P 170 0 ${disk}`, target]);
          await convert({ ...fromSource, target, createTarget: false });
          const expected = Buffer.alloc(disk, 170);
          readFileSync(source).copy(expected);
          writeFileSync(path("expected"), expected);
          await expectSame(target, path("expected"));
          await expectSameView(qemuImg, target);
        }
      }
    });

    it("-B copies only what is not in the backing file", async () => {
      const backing = { name: source, format: "raw" };
      const formatOptions = { cluster_size: clusterSize };
      const overlay = path("overlay");
      await create({ name: overlay, format: "qcow2", backing, formatOptions });
      const at = 2 * MiB + 512;
      const writes = ["-c", `write -P 9 ${at} 70000`, "-c", `write -z ${at + MiB} 200000`];
      await qemuIo.run(["-f", "qcow2", ...writes, overlay]);
      await convert({
        sources: [overlay],
        target: ours,
        targetFormat: "qcow2",
        backing,
        targetOptions: formatOptions,
      });
      const told = ["-B", source, "-F", "raw", "-o", `cluster_size=${clusterSize}`];
      await qemuImg.run(["convert", "-f", "qcow2", "-O", "qcow2", ...told, overlay, theirs]);
      await expectSame(ours, overlay, "qcow2", "qcow2");
      await expectSameView(qemuImg, ours);
      expect(await fileDifference(ours, theirs)).toBeUndefined();
    });
  });

  it.each(["metadata", "falloc", "full"])(
    "raw to qcow2 with preallocation=%s makes the bytes that qemu-img makes",
    async (preallocation) => {
      await convert({ ...fromSource, target: ours, targetOptions: { preallocation } });
      await convertTheirs(qemuImg, source, theirs, ["-o", `preallocation=${preallocation}`]);
      await expectSame(ours, source);
      expect(await check({ name: ours })).toMatchObject({ corruptions: 0, leaks: 0 });
      expect(await fileDifference(ours, theirs)).toBeUndefined();
    },
  );

  it("several sources follow each other", async () => {
    const [odd, whole, sparse] = [path("a"), path("b"), path("c")];
    makeDisk(odd, MiB + 512, 2);
    await convert({ ...fromSource, target: whole });
    await create({ name: sparse, format: "qcow2", size: 3 * MiB });
    await qemuIo.run(["-f", "qcow2", "-c", "write -P 5 1M 64k", sparse]);
    for (const targetFormat of ["raw", "qcow2"]) {
      await convert({ sources: [odd, whole, sparse], target: ours, targetFormat });
      await qemuImg.run(["convert", "-O", targetFormat, odd, whole, sparse, theirs]);
      await expectSame(ours, theirs, targetFormat, targetFormat);
      expect(await fileDifference(ours, theirs)).toBeUndefined();
    }
  });

  it.each([1, 511, 513, 65537, MiB + 1])(
    "a raw source of %d bytes becomes whole sectors",
    async (length) => {
      const odd = path("odd");
      writeFileSync(odd, randomBytes(length));
      for (const [targetFormat, compress] of [
        ["raw", false],
        ["qcow2", false],
        ["qcow2", true],
      ] as const) {
        await convert({
          sources: [odd],
          sourceFormat: "raw",
          target: ours,
          targetFormat,
          compress,
        });
        const flags = compress ? ["-c"] : [];
        await qemuImg.run(["convert", "-f", "raw", "-O", targetFormat, ...flags, odd, theirs]);
        await expectSame(ours, theirs, targetFormat, targetFormat);
        if (!compress) expect(await fileDifference(ours, theirs)).toBeUndefined();
        await using disk = await open(ours, { format: targetFormat });
        const bytes = new Uint8Array(disk.size);
        await disk.read(0, bytes);
        expect(disk.size).toBe(Math.ceil(length / 512) * 512);
        expect(readFileSync(odd).equals(bytes.subarray(0, length))).toBe(true);
        expect(bytes.subarray(length).every((byte) => byte === 0)).toBe(true);
      }
    },
  );

  it("-n into raw files: longer ones keep their end, zeros overwrite", async () => {
    for (const length of [statSync(source).size, statSync(source).size + MiB + 100]) {
      const target = path("existing.raw");
      writeFileSync(target, Buffer.alloc(length, 85));
      await convert({ ...fromSource, target, targetFormat: "raw", createTarget: false });
      const expected = Buffer.alloc(length, 85);
      readFileSync(source).copy(expected);
      expect(readFileSync(target).equals(expected)).toBe(true);
      rmSync(target);
    }
  });
});

async function convertTheirs(
  qemuImg: Peer,
  source: string,
  target: string,
  args: readonly string[],
): Promise<void> {
  await qemuImg.run(["convert", "-f", "raw", "-O", "qcow2", ...args, source, target]);
}
