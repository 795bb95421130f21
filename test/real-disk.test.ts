/**
 * A real disk goes through every kind of image and comes back as it was: a partition table, and in
 * its partition an ext4 filesystem with at least 500 MB of this machine's /usr.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { check, compare, convert } from "../src/index.ts";
import { makeUsrDisk, partitionStart } from "../tools/usr-disk.ts";
import { describePeer } from "./peers.ts";

const MiB = 2 ** 20;
/** File contents on the filesystem. */
const wanted = 510e6;
const diskSize = 1024 * MiB;

const directory = mkdtempSync(join(tmpdir(), "platter-disk-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const path = (name: string): string => join(directory, name);

describePeer(
  ["qemu-img@7.2", "mke2fs", "sfdisk", "e2fsck"],
  "a real disk",
  (qemuImg, _mke2fs, sfdisk, e2fsck) => {
    it("raw → qcow2 → qcow2 with zlib → qcow2 with zstd → raw", async () => {
      const disk = path("disk.raw");
      expect(makeUsrDisk(disk, diskSize, wanted)).toBeGreaterThan(500e6);

      const steps = [
        { target: "plain.qcow2", format: "qcow2" },
        { target: "zlib.qcow2", format: "qcow2", compression: "zlib" },
        { target: "zstd.qcow2", format: "qcow2", compression: "zstd" },
        { target: "back.raw", format: "raw" },
      ];
      let source = disk;
      for (const { target, format, compression } of steps) {
        await convert({
          sources: [source],
          target: path(target),
          targetFormat: format,
          compress: compression !== undefined,
          ...(compression !== undefined && { targetOptions: { compression_type: compression } }),
        });
        source = path(target);
        await qemuImg.run(["compare", disk, source], { timeout: 300_000 });
        expect(await compare({ first: disk, second: source })).toMatchObject({ identical: true });
        if (format !== "qcow2") continue;
        const { stdout } = await qemuImg.run(["check", "--output=json", source]);
        const theirs = JSON.parse(stdout) as Record<string, number>;
        expect(await check({ name: source })).toMatchObject({
          corruptions: 0,
          leaks: 0,
          allocatedClusters: theirs["allocated-clusters"],
          compressedClusters: theirs["compressed-clusters"] ?? 0,
          fragmentedClusters: theirs["fragmented-clusters"] ?? 0,
          imageEndOffset: theirs["image-end-offset"],
        });
      }
      expect(statSync(path("zlib.qcow2")).size).toBeLessThan(statSync(path("plain.qcow2")).size);

      // The filesystem inside the partition, as it came back.
      const { stdout } = await sfdisk.run(["-d", path("back.raw")]);
      expect(stdout).toContain(`start=        ${partitionStart / 512}`);
      await e2fsck.run(["-fn", `${path("back.raw")}?offset=${partitionStart}`], {
        timeout: 300_000,
      });
    });
  },
);
