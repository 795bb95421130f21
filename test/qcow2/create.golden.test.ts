/**
 * `create` against `qemu-img create`: the same bytes for every option set, the same refusals.
 *
 * In CI each value of an option meets each value of every other; LONG=1 runs all combinations.
 */
import { existsSync, rmSync } from "node:fs";
import { describe, expect, inject, it } from "vitest";
import { create, type FormatOptionValues } from "../../src/index.ts";
import { describePeer, type Peer } from "../peers.ts";
import {
  GiB,
  MiB,
  allocated,
  clusterSizes,
  errorOf,
  fileDifference,
  layouts,
  minExtendedCluster,
  optionString,
  pairwise,
  preallocations,
  product,
  temporaryDirectory,
  type PreallocationName,
} from "./kit.ts";

const long = inject("effort") > 1;

/** Disk sizes; `tables` needs several L2 tables and ends inside a cluster. */
const diskSizes = {
  none: () => 0,
  sector: () => 512,
  small: () => MiB,
  tables: (clusterSize: number) => ((clusterSize * clusterSize) / 8) * 3 + 512 * 7,
  large: () => GiB,
  huge: () => 5 * GiB,
};

/** Largest disk that is made in this mode: beyond it there would be nothing new, only time. */
function largest(preallocation: PreallocationName, clusterSize: number): number {
  switch (preallocation) {
    case "off":
      return 64 * GiB;
    case "metadata":
      return clusterSize < 4096 ? 256 * MiB : 5 * GiB;
    case "falloc":
      return 256 * MiB;
    default:
      return 16 * MiB;
  }
}

const axes = {
  clusterSize: clusterSizes,
  preallocation: preallocations,
  layout: layouts,
  size: ["none", "sector", "small", "tables", "large", "huge"],
  compression: ["zlib", "zstd"],
  lazy: [false, true],
  extended: [false, true],
} as const;

const rows = (long ? product(axes) : pairwise(axes)).map((row) => {
  const { clusterSize, preallocation, layout, compression, lazy } = row;
  const newer = layout.compat === "1.1";
  const extended = row.extended && newer && clusterSize >= minExtendedCluster;
  return {
    clusterSize,
    preallocation,
    // A little less than the limit, and not a whole cluster.
    size: Math.min(diskSizes[row.size](clusterSize), largest(preallocation, clusterSize) - 512 * 3),
    values: {
      cluster_size: clusterSize,
      preallocation,
      compat: layout.compat,
      refcount_bits: layout.bits,
      compression_type: newer ? compression : "zlib",
      lazy_refcounts: newer && lazy,
      ...(extended && { extended_l2: true }),
    } satisfies FormatOptionValues,
  };
});

describePeer("qemu-img@7.2", "create equals qemu-img create byte for byte", (qemuImg) => {
  const directory = temporaryDirectory();
  const ours = `${directory}/ours`;
  const theirs = `${directory}/theirs`;

  describe.each(clusterSizes)("clusters of %d bytes", (clusterSize) => {
    it.each(preallocations)("preallocation=%s", async (preallocation) => {
      const chosen = rows.filter(
        (row) => row.clusterSize === clusterSize && row.preallocation === preallocation,
      );
      expect(chosen).not.toHaveLength(0);
      for (const { size, values } of chosen) {
        const told = optionString(values);
        await qemuImg.run(["create", "-q", "-f", "qcow2", "-o", told, theirs, String(size)]);
        await create({ name: ours, format: "qcow2", size, formatOptions: values });
        expect(await fileDifference(ours, theirs), `${told} size=${size}`).toBeUndefined();
        if (preallocation === "falloc" || preallocation === "full") {
          const difference = Math.abs(allocated(ours) - allocated(theirs));
          expect(difference, `allocated, ${told} size=${size}`).toBeLessThanOrEqual(128 * 1024);
        }
        rmSync(ours);
        rmSync(theirs);
      }
    });
  });

  const backings = product({
    clusterSize: [512, 1024, 4096, 8192, 65536, 2 * MiB],
    compat: ["0.10", "1.1"],
    format: [undefined, "raw", "qcow2"],
    name: ["b", "base.img", "x".repeat(300), "é".repeat(150), "y".repeat(1023), "z".repeat(1024)],
  } as const);

  it.each([512, 1024, 4096, 8192, 65536, 2 * MiB])(
    "backing file names in clusters of %d bytes: the same bytes, or refused alike",
    async (clusterSize) => {
      for (const row of backings) {
        if (row.clusterSize !== clusterSize) continue;
        const { name, format, compat } = row;
        const values = { cluster_size: clusterSize, compat };
        const told = optionString(values);
        const what = `${told} backing_fmt=${format} name of ${Buffer.byteLength(name)} bytes`;
        const theirOutcome = await createTheirs(qemuImg, theirs, "1M", [
          "-u",
          "-b",
          name,
          "-o",
          told,
          ...(format === undefined ? [] : ["-F", format]),
        ]);
        const ourOutcome = await create({
          name: ours,
          format: "qcow2",
          size: MiB,
          unsafe: true,
          backing: { name, format },
          formatOptions: values,
        }).then(
          () => "",
          (error: unknown) => messageFor(error, ours),
        );
        expect(ourOutcome.replaceAll(ours, theirs), what).toBe(theirOutcome);
        if (theirOutcome === "") {
          expect(await fileDifference(ours, theirs), what).toBeUndefined();
        } else expect(existsSync(ours), what).toBe(false);
        rmSync(ours, { force: true });
        rmSync(theirs, { force: true });
      }
    },
  );

  const refusals: ReadonlyArray<{
    readonly values: FormatOptionValues;
    readonly size?: string;
    readonly backing?: string;
  }> = [
    { values: { compat: "0.10", refcount_bits: 8 } },
    { values: { compat: "0.10", refcount_bits: 32 } },
    { values: { compat: "0.10", lazy_refcounts: true } },
    { values: { compat: "v2", compression_type: "zstd" } },
    {
      values: { compat: "0.10", refcount_bits: 1, lazy_refcounts: true, compression_type: "zstd" },
    },
    { values: { compat: "0.10", refcount_bits: 3, cluster_size: 1000 } },
    { values: { cluster_size: 0 } },
    { values: { cluster_size: 256 } },
    { values: { cluster_size: 1000 } },
    { values: { cluster_size: 4 * MiB } },
    { values: { refcount_bits: 0 } },
    { values: { refcount_bits: 3 } },
    { values: { refcount_bits: 128 } },
    { values: { compat: "2" } },
    { values: { compat: "1.1 " } },
    { values: { preallocation: "some" } },
    { values: { compression_type: "lzma" } },
    { values: { preallocation: "some", compression_type: "lzma", compat: "4" } },
    { values: { foo: 1 } },
    { values: { extended_l2: true, cluster_size: 8192 } },
    { values: { extended_l2: true, cluster_size: 1000 } },
    { values: { extended_l2: true, cluster_size: 8192, compat: "0.10" } },
    { values: { extended_l2: true, cluster_size: 1000, compat: "0.10" } },
    { values: { extended_l2: true, compat: "0.10", lazy_refcounts: true, refcount_bits: 8 } },
    { values: { extended_l2: true, compat: "0.10", compression_type: "zstd" } },
    { values: { extended_l2: true, compat: "0.10", preallocation: "metadata" }, backing: "base" },
    { values: { extended_l2: true, cluster_size: 16384 }, size: String(2 ** 50) },
    { values: { extended_l2: false, preallocation: "metadata" }, backing: "base" },
    { values: { cluster_size: 512 }, size: String(2 ** 40) },
    { values: { cluster_size: 512 }, size: String(128 * GiB + 512) },
    { values: { cluster_size: 65536 }, size: String(2 ** 61) },
    { values: { cluster_size: 2 * MiB }, size: String(2 ** 61 + 2 ** 40) },
    { values: { cluster_size: 512, preallocation: "metadata" }, size: String(2 ** 40) },
    { values: { preallocation: "metadata" }, backing: "base" },
    { values: { preallocation: "falloc" }, backing: "base" },
    { values: { preallocation: "full", cluster_size: 1000 }, backing: "base" },
    { values: {}, backing: "missing" },
    { values: {}, backing: "ours" },
  ];
  it.each(refusals)("refuses $values $size $backing as qemu-img does", async (refusal) => {
    const { values, size = String(MiB), backing } = refusal;
    await qemuImg.run(["create", "-q", "-f", "raw", `${directory}/base`, "1M"]);
    const args = ["create", "-q", "-f", "qcow2"];
    if (backing !== undefined) args.push("-b", `${directory}/${backing}`, "-F", "raw");
    if (Object.keys(values).length > 0) args.push("-o", optionString(values));
    const { status, stderr } = await qemuImg.attempt([...args, ours, size]);
    expect(status).toBe(1);
    expect(existsSync(ours)).toBe(false);
    const error = await errorOf(
      create({
        name: ours,
        format: "qcow2",
        size: Number(size),
        formatOptions: values,
        ...(backing !== undefined && {
          backing: { name: `${directory}/${backing}`, format: "raw" },
        }),
      }),
    );
    expect(`qemu-img: ${error.details.qemu ?? error.message}`.trimEnd()).toBe(stderr.trimEnd());
    expect(existsSync(ours)).toBe(false);
  });

  it("an existing file survives a refusal", async () => {
    await qemuImg.run(["create", "-q", "-f", "qcow2", ours, "1M"]);
    await qemuImg.run(["create", "-q", "-f", "qcow2", theirs, "1M"]);
    const formatOptions = { cluster_size: 1000 };
    const error = await errorOf(create({ name: ours, format: "qcow2", size: MiB, formatOptions }));
    expect(error.code).toBe("E_INVALID_ARGUMENT");
    expect(await fileDifference(ours, theirs)).toBeUndefined();
  });
});

/** What qemu-img says when it refuses, without its prefix; nothing when it does not. */
async function createTheirs(
  qemuImg: Peer,
  name: string,
  size: string,
  args: readonly string[],
): Promise<string> {
  const { status, stderr } = await qemuImg.attempt([
    "create",
    "-q",
    "-f",
    "qcow2",
    ...args,
    name,
    size,
  ]);
  return status === 0 ? "" : stderr.replace(/^qemu-img: /, "").trimEnd();
}

function messageFor(error: unknown, file: string): string {
  expect(error, file).toHaveProperty("details");
  const { message, details } = error as Error & { details: { qemu?: string } };
  return (details.qemu ?? message).trimEnd();
}
