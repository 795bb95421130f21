/**
 * Both ways between QEMU and us, for each cluster size × refcount width × version × preallocation ×
 * compression type that QEMU allows, and some of them with extended L2 entries.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { check, create, open } from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import { minExtendedCluster } from "./kit.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-matrix-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Combination {
  readonly cluster_size: number;
  readonly compat: string;
  readonly refcount_bits: number;
  readonly preallocation: string;
  readonly compression_type: string;
  readonly extended_l2?: boolean;
}

function* combinations(clusterSize: number): Generator<Combination> {
  for (const preallocation of ["off", "metadata", "falloc", "full"]) {
    const common = { cluster_size: clusterSize, preallocation };
    yield { ...common, compat: "0.10", refcount_bits: 16, compression_type: "zlib" };
    for (const refcount_bits of [1, 2, 4, 8, 16, 32, 64]) {
      for (const compression_type of ["zlib", "zstd"]) {
        yield { ...common, compat: "1.1", refcount_bits, compression_type };
      }
    }
    if (clusterSize < minExtendedCluster) continue;
    for (const refcount_bits of [1, 16]) {
      const extended = { ...common, compat: "1.1", refcount_bits, extended_l2: true };
      yield { ...extended, compression_type: "zstd" };
    }
  }
}

const diskSize = (clusterSize: number): number => Math.max(2 ** 20, clusterSize * 4) + 512 * 3;

/** The same for both: writes across clusters, zeros, a packed cluster, a discarded one. */
function writes(clusterSize: number): {
  readonly data: readonly [at: number, length: number, fill: number];
  readonly zeros: readonly [at: number, length: number];
  readonly packed: readonly [at: number, fill: number];
} {
  return {
    data: [clusterSize / 2, clusterSize * 2, 0x5a],
    zeros: [clusterSize, clusterSize / 2],
    packed: [clusterSize * 3, 0xc3],
  };
}

function expected(clusterSize: number, withPacked: boolean): Uint8Array {
  const bytes = new Uint8Array(diskSize(clusterSize));
  const { data, zeros, packed } = writes(clusterSize);
  bytes.fill(data[2], data[0], data[0] + data[1]);
  bytes.fill(0, zeros[0], zeros[0] + zeros[1]);
  if (withPacked) bytes.fill(packed[1], packed[0], packed[0] + clusterSize);
  return bytes;
}

const text = (options: Combination): string =>
  Object.entries(options)
    .filter(([name]) => name !== "compression_type" || options.compat !== "0.10")
    .map(([name, value]) => `${name}=${value === true ? "on" : value}`)
    .join(",");

const sizes = Array.from({ length: 13 }, (_, i) => 2 ** (9 + i));

describePeer(["qemu-img@7.2", "qemu-io"], "images of QEMU", (qemuImg, qemuIo) => {
  it.each(sizes)("with clusters of %d bytes, read by us", async (clusterSize) => {
    const image = join(directory, "theirs.qcow2");
    for (const options of combinations(clusterSize)) {
      const { data, zeros, packed } = writes(clusterSize);
      // QEMU does not compress into a cluster that has its place already.
      const packs = options.preallocation === "off";
      const size = String(diskSize(clusterSize));
      await qemuImg.run(["create", "-q", "-f", "qcow2", "-o", text(options), image, size]);
      await qemuIo.run([
        "-c",
        `write -P ${data[2]} ${data[0]} ${data[1]}`,
        "-c",
        `write -z ${zeros[0]} ${zeros[1]}`,
        ...(packs ? ["-c", `write -c -P ${packed[1]} ${packed[0]} ${clusterSize}`] : []),
        image,
      ]);
      const bytes = new Uint8Array(diskSize(clusterSize));
      {
        await using disk = await open(image);
        await disk.read(0, bytes);
      }
      const same = Buffer.compare(bytes, expected(clusterSize, packs)) === 0;
      expect(same, text(options)).toBe(true);
      const report = await check({ name: image });
      expect({ ...report }, text(options)).toMatchObject({ corruptions: 0, leaks: 0 });
    }
  });
});

describePeer("qemu-img@7.2", "images of ours", (qemuImg) => {
  it.each(sizes)("with clusters of %d bytes, read by QEMU", async (clusterSize) => {
    const image = join(directory, "ours.qcow2");
    const copy = join(directory, "copy.raw");
    for (const { compression_type, ...options } of combinations(clusterSize)) {
      const { data, zeros, packed } = writes(clusterSize);
      await create({
        name: image,
        format: "qcow2",
        size: diskSize(clusterSize),
        formatOptions:
          options.compat === "0.10" ? { ...options } : { ...options, compression_type },
      });
      {
        await using disk = await open(image, { writable: true });
        await disk.write(data[0], new Uint8Array(data[1]).fill(data[2]));
        await disk.writeZeroes(zeros[0], zeros[1]);
        await disk.writeCompressed(packed[0], new Uint8Array(clusterSize).fill(packed[1]));
        await disk.flush();
      }
      const what = text({ compression_type, ...options });
      const { status, stdout, stderr } = await qemuImg.attempt(["check", image]);
      expect(status, `${what}: ${stdout}${stderr}`).toBe(0);
      await qemuImg.run(["convert", "-O", "raw", image, copy]);
      const same = Buffer.compare(readFileSync(copy), expected(clusterSize, true)) === 0;
      expect(same, what).toBe(true);
    }
  });
});
