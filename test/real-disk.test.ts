/**
 * A real disk goes through every kind of image and comes back: an ext4 filesystem with programs and
 * documents of this machine, in a partition. It takes some 1.5 GB in the temporary directory.
 */
import { createHash } from "node:crypto";
import { createReadStream, mkdtempSync, rmSync } from "node:fs";
import {
  access,
  constants,
  cp,
  lstat,
  mkdir,
  open as openFile,
  readdir,
  rm,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { check, compare, convert, info, open } from "../src/index.ts";
import { describePeer } from "./peers.ts";

const MiB = 1024 * 1024;

/** The disk, and where the filesystem is on it. */
const diskSize = 1024 * MiB;
const partitionStart = MiB;
const partitionSize = diskSize - 2 * MiB;

/** Bytes of files that the filesystem holds at least. */
const contentSize = 500 * MiB;

const directory = mkdtempSync(join(tmpdir(), "platter-real-disk-"));
const path = (name: string): string => join(directory, name);
afterAll(() => rmSync(directory, { recursive: true }));

/** Whether we may read it: not everything in /usr is for everybody. */
const isReadable = (name: string): Promise<boolean> =>
  access(name, constants.R_OK).then(
    () => true,
    () => false,
  );

/** The regular files below `folder`, each directory in the order of its names. */
async function* filesBelow(folder: string): AsyncGenerator<{ name: string; size: number }> {
  if (!(await isReadable(folder))) return;
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(name);
    else if (entry.isFile() && (await isReadable(name))) {
      yield { name, size: (await lstat(name)).size };
    }
  }
}

/**
 * Copies files into `target` until there are {@link contentSize} bytes: those of /usr, and where it
 * has less, of the packages that this checkout installs.
 */
async function collect(target: string): Promise<void> {
  let collected = 0;
  for (const folder of ["/usr", resolve("node_modules")]) {
    for await (const { name, size } of filesBelow(folder)) {
      // One giant would leave no room for variety, and the last file has to fit as well.
      if (size > 128 * MiB) continue;
      await cp(name, join(target, name));
      collected += size;
      if (collected >= contentSize) return;
    }
  }
  throw new Error(`there are only ${collected} bytes of files to make a disk of`);
}

async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

describePeer(
  ["qemu-img@7.2", "mke2fs", "e2fsck", "debugfs", "sfdisk"],
  "a disk with a filesystem of 500 MB",
  (qemuImg, mke2fs, e2fsck, debugfs, sfdisk) => {
    const source = path("source.raw");
    let digest: string;

    beforeAll(async () => {
      const content = path("content");
      await mkdir(content);
      await collect(content);
      const file = await openFile(source, "w");
      await file.truncate(diskSize);
      await file.close();
      const sector = 512;
      const line = `start=${partitionStart / sector}, size=${partitionSize / sector}, type=L\n`;
      await sfdisk.run(["-q", source], { input: `label: gpt\n${line}` });
      const extended = `offset=${partitionStart},root_owner=0:0`;
      await mke2fs.run(
        [
          "-q",
          "-F",
          "-t",
          "ext4",
          "-E",
          extended,
          "-d",
          content,
          source,
          `${partitionSize / 1024}k`,
        ],
        { timeout: 240_000 },
      );
      await rm(content, { recursive: true });
      digest = await sha256(source);
    });

    /** The way there and back. What a step started from is removed when it has been compared. */
    const steps = [
      { from: "source.raw", to: "plain.qcow2", format: "qcow2", compress: false, options: {} },
      {
        from: "plain.qcow2",
        to: "zlib.qcow2",
        format: "qcow2",
        compress: true,
        options: { compression_type: "zlib" },
      },
      {
        from: "zlib.qcow2",
        to: "zstd.qcow2",
        format: "qcow2",
        compress: true,
        options: { compression_type: "zstd" },
      },
      { from: "zstd.qcow2", to: "back.raw", format: "raw", compress: false, options: {} },
    ] as const;

    test.each(steps)("$from → $to", async ({ from, to, format, compress, options }) => {
      await convert({
        sources: [path(from)],
        target: path(to),
        targetFormat: format,
        targetOptions: options,
        compress,
      });
      if (format === "qcow2") {
        const { stdout } = await qemuImg.run(["check", path(to)], { timeout: 120_000 });
        expect(stdout).toContain("No errors were found on the image.");
        const report = await check({ name: path(to) });
        expect(report).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0, problems: [] });
        expect(report.compressedClusters > 0).toBe(compress);
      }
      const compared = await qemuImg.run(["compare", "-f", "raw", "-F", format, source, path(to)], {
        timeout: 240_000,
      });
      expect(compared.stdout).toBe("Images are identical.\n");
      expect(await compare({ first: path(from), second: path(to) })).toMatchObject({
        identical: true,
        sizeDiffers: false,
      });
      if (from !== "source.raw") await rm(path(from));
    });

    test("what came back is what went in, and takes up no more space", async () => {
      expect(await sha256(path("back.raw"))).toBe(digest);
      const [before] = await info({ name: source });
      const [after] = await info({ name: path("back.raw") });
      expect(after?.allocatedSize).toBeLessThanOrEqual(before?.allocatedSize ?? 0);
    });

    test("the filesystem in its partition is clean, and its files can be read", async () => {
      {
        await using disk = await open(path("back.raw"), { format: "raw" });
        const file = await openFile(path("partition"), "w");
        let at = 0;
        for await (const chunk of disk.readable({
          start: partitionStart,
          end: partitionStart + partitionSize,
        })) {
          await file.write(chunk, 0, chunk.length, at);
          at += chunk.length;
        }
        await file.close();
      }
      await rm(path("back.raw"));
      const { stdout } = await e2fsck.run(["-fn", path("partition")], { timeout: 120_000 });
      expect(stdout).toContain("Pass 5: Checking group summary information");
      const listed = await debugfs.run(["-R", "ls -p /usr", path("partition")]);
      expect(listed.stdout).toContain("/bin/");
      const partitions = await sfdisk.run(["--json", source]);
      expect(JSON.parse(partitions.stdout)).toMatchObject({
        partitiontable: {
          partitions: [{ start: partitionStart / 512, size: partitionSize / 512 }],
        },
      });
    });
  },
);
