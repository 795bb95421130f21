/**
 * `du` beside `stat` and `qemu-img`: the seven images of the preallocation story, made by either
 * program, empty and after writing, on every kind of host that is at hand.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create, du, explainUsage, explainVolumes, open } from "../src/index.ts";
import { findPeer } from "../tools/peers.ts";
import { describePeer } from "./peers.ts";

const MiB = 2 ** 20;
const size = 64 * MiB;

const images = [
  ["raw", "off"],
  ["raw", "falloc"],
  ["raw", "full"],
  ["qcow2", "off"],
  ["qcow2", "metadata"],
  ["qcow2", "falloc"],
  ["qcow2", "full"],
] as const;

const tmpfsType = 0x0102_1994;
const shm = "/dev/shm";
const hasTmpfs = (() => {
  try {
    return statfsSync(shm).type === tmpfsType;
  } catch {
    return false;
  }
})();

for (const [host, parent] of [
  ["a filesystem that lists extents", tmpdir()],
  ["tmpfs", shm],
] as const) {
  if (host === "tmpfs" && !hasTmpfs) continue;
  describePeer("qemu-img@7.2", `du on ${host}`, (qemuImg) => {
    const directory = mkdtempSync(join(parent, "platter-du-"));
    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    for (const maker of ["platter", "qemu-img"]) {
      it.each(images)(
        `knows what %s with preallocation=%s is, by ${maker}`,
        async (format, mode) => {
          const name = join(directory, `${maker}-${format}-${mode}`);
          if (maker === "platter") {
            await create({ name, format, size, formatOptions: { preallocation: mode } });
          } else {
            const options = ["-f", format, "-o", `preallocation=${mode}`];
            await qemuImg.run(["create", "-q", ...options, name, "64M"]);
          }
          const before = await measure(name);
          expect(before).toMatchObject({ format, preallocation: mode, virtualSize: size });
          // The first block of a raw file may be written: QEMU finds out its alignment by it.
          const least = mode === "full" ? size : 0;
          expect(before.written).toBeGreaterThanOrEqual(least);
          expect(before.written).toBeLessThanOrEqual(least + 4096);

          {
            await using disk = await open(name, { writable: true, format });
            await disk.write(8 * MiB, new Uint8Array(4 * MiB).fill(7));
            await disk.write(40 * MiB, new Uint8Array(MiB).fill(7));
            await disk.flush();
          }
          const after = await measure(name, true);
          expect(after.preallocation).toBe(mode);
          expect(after.nonZero).toEqual({ bytes: 5 * MiB, blocks: 5 * MiB });
          // The host may zero a little around the edges of what is written to reserved space.
          if (mode !== "full") {
            expect(after.written).toBeGreaterThanOrEqual(5 * MiB);
            expect(after.written).toBeLessThan(5.5 * MiB);
          }
        },
      );
    }

    it("takes other cluster sizes for what they are", async () => {
      for (const clusterSize of ["512", "4k", "2M"]) {
        for (const mode of ["off", "metadata", "falloc"]) {
          const name = join(directory, `clusters-${clusterSize}-${mode}`);
          const options = `preallocation=${mode},cluster_size=${clusterSize}`;
          await qemuImg.run(["create", "-q", "-f", "qcow2", "-o", options, name, "64M"]);
          expect([clusterSize, (await measure(name)).preallocation]).toEqual([clusterSize, mode]);
        }
      }
    });

    it("knows images whose subclusters have places without being allocated", async () => {
      for (const mode of ["off", "metadata", "falloc", "full"]) {
        const name = join(directory, `subclusters-${mode}`);
        const options = `preallocation=${mode},extended_l2=on`;
        await qemuImg.run(["create", "-q", "-f", "qcow2", "-o", options, name, "64M"]);
        expect([mode, (await measure(name)).preallocation]).toEqual([mode, mode]);
      }
    });

    it("says mixed, with shares, when it is", async () => {
      const name = join(directory, "mixed");
      await qemuImg.run(["create", "-q", "-f", "raw", "-o", "preallocation=falloc", name, "32M"]);
      truncateSync(name, size);
      const result = await du({ names: [name] });
      expect(result.images[0]!.preallocation).toBe(host === "tmpfs" ? "unknown" : "mixed");
      const [note] = explainUsage(result);
      expect(note!.text).toMatch(
        host === "tmpfs"
          ? /does not tell/
          : /50% without a place \(off\), 50% in reserved space \(falloc\), <0.1% written/,
      );
    });

    it("tells what the images may still take, and by how much that is too much", async () => {
      const name = join(directory, "huge");
      await create({ name, format: "qcow2", size: 2 ** 46 });
      const result = await du({ names: [name, name] });
      const [volume] = result.volumes;
      expect(volume!.growth).toBe(2 ** 46);
      const { bavail, bsize } = statfsSync(directory);
      expect(Math.abs(volume!.free - bavail * bsize)).toBeLessThan(2 ** 30);
      expect(volume!.overcommitted).toBe(2 ** 46 - volume!.free);
      expect(explainVolumes(result)[0]).toContain("over-committed");
    });
  });
}

/** Measures, and compares what `stat` can tell. */
async function measure(name: string, scan = false) {
  const { images: found } = await du({ names: [name], scan });
  const [usage] = found;
  const { size: length, blocks } = statSync(name);
  expect(usage!.fileLength).toBe(length);
  expect(usage!.allocated).toBe(blocks * 512);
  const total = Object.values(usage!.places).reduce((sum, bytes) => sum + bytes, 0);
  expect(total).toBe(usage!.virtualSize);
  return usage!;
}

const losetup = findPeer("losetup");
const able = losetup !== undefined && process.getuid?.() === 0;

describe.skipIf(!able)("du of a block device (needs root)", () => {
  const directory = mkdtempSync(join(tmpdir(), "platter-du-device-"));
  let device: string;
  beforeAll(async () => {
    await create({ name: join(directory, "disk"), format: "raw", size });
    const words = ["-f", "--show", join(directory, "disk")];
    device = execFileSync(losetup!, words, { encoding: "utf8" }).trim();
  });
  afterAll(() => {
    execFileSync(losetup!, ["-d", device]);
    rmSync(directory, { recursive: true, force: true });
  });

  it("says that it cannot tell, and counts nothing towards the host's space", async () => {
    const result = await du({ names: [device], format: "raw" });
    expect(result.images[0]).toMatchObject({
      format: "raw",
      virtualSize: size,
      fileLength: size,
      allocated: undefined,
      preallocation: "unknown",
      growth: 0,
      isDevice: true,
    });
    expect(result.volumes).toEqual([]);
    expect(explainUsage(result)[0]!.text).toContain("A device");
  });

  it("knows a qcow2 image on one by its tables", async () => {
    const name = device;
    const makeAndDetect = async (mode: string) => {
      const formatOptions = { preallocation: mode };
      await create({ name, format: "qcow2", size: 16 * MiB, formatOptions });
      return (await du({ names: [name] })).images[0]!.preallocation;
    };
    expect(await makeAndDetect("off")).toBe("off");
    expect(await makeAndDetect("metadata")).toBe("unknown");
  });
});
