/**
 * Golden: what we create is, byte for byte, what `qemu-img create` creates. In CI every cluster size
 * meets every refcount width and preallocation mode, with a few disk sizes each; `npm run test:long`
 * has all sizes everywhere.
 */
import { rmSync, statSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, inject, it } from "vitest";
import { create, open } from "../../src/index.ts";
import { describePeer } from "../peers.ts";

const directory = await mkdtemp(join(tmpdir(), "platter-golden-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const everything = inject("effort") > 1;
const GiB = 2 ** 30;

/** Creation options as a user gives them, and the size of the disk. */
interface Case {
  readonly size: number;
  readonly values: Readonly<Record<string, string | number | boolean>>;
}

function* cases(): Generator<Case> {
  for (let bits = 9; bits <= 21; bits++) {
    const clusterSize = 2 ** bits;
    for (const { compat, refcountBits } of widths) {
      for (const preallocation of ["off", "metadata", "falloc", "full"]) {
        const values = {
          cluster_size: clusterSize,
          compat,
          refcount_bits: refcountBits,
          preallocation,
        };
        for (const size of sizes(clusterSize, preallocation)) yield { size, values };
      }
    }
    for (const more of [{ compression_type: "zstd" }, { lazy_refcounts: true }]) {
      yield { size: GiB, values: { cluster_size: clusterSize, ...more } };
    }
  }
}

const widths = [
  { compat: "0.10", refcountBits: 16 },
  ...[1, 2, 4, 8, 16, 32, 64].map((refcountBits) => ({ compat: "1.1", refcountBits })),
];

/** Sizes that end inside a cluster, fill several L2 tables and make the refcount table grow. */
function sizes(clusterSize: number, preallocation: string): number[] {
  // How large a disk stays cheap to make in that mode.
  const large = { off: 2 ** 36, metadata: GiB }[preallocation] ?? 2 ** 26;
  const clusters = preallocation === "off" ? 2 ** 22 : everything ? 2 ** 19 : 2 ** 14;
  const limit = Math.min(large, clusterSize * clusters);
  const severalTables = (clusterSize * clusterSize * 3) / 8 + 512 * 7;
  const all = [0, 512, 2 ** 20, severalTables, 2 ** 26, GiB, 5 * GiB].filter(
    (size) => size <= limit,
  );
  return everything
    ? all
    : [...new Set([severalTables <= limit ? severalTables : 512, all.at(-1)!])];
}

/** Length and hash of a file; of holes and written zeros alike only the place counts. */
async function fingerprint(path: string): Promise<string> {
  await using disk = await open(path, { format: "raw", lock: "none" });
  const hash = createHash("sha1");
  const buffer = new Uint8Array(2 ** 20);
  for await (const { start, length, zero } of disk.extents()) {
    if (zero) continue;
    for (let at = start; at < start + length; at += buffer.length) {
      const bytes = buffer.subarray(0, Math.min(buffer.length, start + length - at));
      await disk.read(at, bytes);
      for (const run of pieces(bytes)) hash.update(`${at + run.at} `).update(run.bytes);
    }
  }
  return `${statSync(path).size} ${hash.digest("hex")}`;
}

/** The 4 KiB pieces of a buffer that are not zeros. */
function* pieces(bytes: Uint8Array): Generator<{ at: number; bytes: Uint8Array }> {
  for (let at = 0; at < bytes.length; at += 4096) {
    const piece = bytes.subarray(at, at + 4096);
    if (piece.some((byte) => byte !== 0)) yield { at, bytes: piece };
  }
}

describePeer("qemu-img@7.2", "create", (qemuImg) => {
  const byClusterSize = Map.groupBy(cases(), ({ values }) => values["cluster_size"]);
  it.each([...byClusterSize])("cluster_size=%d: the same bytes", async (_, group) => {
    const theirs = join(directory, "theirs");
    const ours = join(directory, "ours");
    for (const { size, values } of group) {
      const text = Object.entries(values)
        .map(([name, value]) => `${name}=${typeof value === "boolean" ? "on" : value}`)
        .join(",");
      await qemuImg.run(["create", "-q", "-f", "qcow2", "-o", text, theirs, String(size)]);
      await create({ name: ours, format: "qcow2", size, formatOptions: values });
      expect(await fingerprint(ours), `${text} ${size}`).toBe(await fingerprint(theirs));
      rmSync(ours);
    }
  });

  it.each([
    ["base.qcow2", "qcow2", 65536],
    ["b".repeat(200), "raw", 512],
    [`./${"d/".repeat(400)}base`, "raw", 4096],
    ["base", "raw", 2097152],
  ])("with the backing file %s", async (name, format, clusterSize) => {
    for (const compat of ["0.10", "1.1"]) {
      const options = `cluster_size=${clusterSize},compat=${compat}`;
      const theirs = join(directory, "theirs");
      const ours = join(directory, "ours");
      const overlay = ["-u", "-b", name, "-F", format];
      await qemuImg.run(["create", "-q", "-f", "qcow2", "-o", options, ...overlay, theirs, "3M"]);
      await create({
        name: ours,
        format: "qcow2",
        size: 3 * 2 ** 20,
        unsafe: true,
        backing: { name, format },
        formatOptions: { cluster_size: clusterSize, compat },
      });
      expect(await fingerprint(ours), options).toBe(await fingerprint(theirs));
    }
  });
});
