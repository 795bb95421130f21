/**
 * Extended L2 entries beside QEMU: the same requests leave the same bytes, with and without a backing
 * image; preallocation in front of a backing image; converting; entries that contradict themselves.
 */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, inject, it } from "vitest";
import {
  check,
  convert,
  create,
  open,
  type Disk,
  type FormatOptionValues,
} from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import {
  KiB,
  MiB,
  errorOf,
  expectSameView,
  fileDifference,
  generator,
  noise,
  optionString,
  ourMap,
  pairwise,
  product,
  temporaryDirectory,
  theirMap,
} from "./kit.ts";
import { command, carryOut, type Step } from "./patterns.ts";

/** All combinations in the long run, otherwise each value with each of every other axis. */
const choose = inject("effort") > 1 ? product : pairwise;

const sizes = [16 * KiB, 32 * KiB, 64 * KiB, 2 * MiB];

describePeer(["qemu-img@7.2", "qemu-io@7.2"], "extended L2 entries", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const ours = `${directory}/ours`;
  const theirs = `${directory}/theirs`;
  const base = `${directory}/base`;

  /** The same image for both, over a raw one of `behind` bytes if there is to be one. */
  async function createBoth(
    values: FormatOptionValues,
    size: number,
    behind: number | undefined,
  ): Promise<void> {
    const args = ["create", "-q", "-f", "qcow2", "-o", optionString(values)];
    if (behind !== undefined) {
      writeFileSync(base, noise(behind));
      args.push("-b", base, "-F", "raw");
    }
    await qemuImg.run([...args, theirs, String(size)]);
    await create({
      name: ours,
      format: "qcow2",
      size,
      formatOptions: values,
      ...(behind !== undefined && { backing: { name: base, format: "raw" } }),
    });
  }

  const axes = {
    clusterSize: sizes,
    backing: ["none", "shorter", "longer"],
    preallocation: ["off", "metadata", "falloc"],
    bits: [1, 16, 64],
    kinds: [
      ["write"],
      ["write", "zero"],
      ["write", "write", "zero", "unmap", "discard"],
    ] as ReadonlyArray<ReadonlyArray<Step["kind"]>>,
    seed: [1, 2, 3],
  } as const;

  const rows = choose(axes);
  it.each(
    rows.map(
      (row) =>
        [
          `${row.clusterSize} ${row.backing} ${row.preallocation} ${row.bits} ${row.kinds.join()} ${row.seed}`,
          row,
        ] as const,
    ),
  )("the same requests leave the same bytes: %s", async (_title, row) => {
    const { clusterSize, backing, preallocation, bits, kinds, seed } = row;
    const next = generator(seed * 1000 + clusterSize);
    // What is past the end of its disk QEMU copies from a longer backing image: we leave zeros.
    const size = 12 * clusterSize + (backing === "longer" ? 0 : 3 * 512);
    const behind = { none: undefined, shorter: 5 * clusterSize + 512, longer: size + clusterSize };
    const values = {
      cluster_size: clusterSize,
      preallocation,
      refcount_bits: bits,
      extended_l2: true,
    };
    await createBoth(values, size, behind[backing]);
    expect(await fileDifference(ours, theirs)).toBeUndefined();
    const unit = clusterSize / 32;
    const steps: Step[] = [];
    for (let i = 0; i < 40; i++) {
      const kind = kinds[next(kinds.length)]!;
      // Sectors, subclusters and clusters.
      const grain = kind === "discard" ? clusterSize : [512, unit, clusterSize][next(3)]!;
      const at = next(Math.floor(size / grain)) * grain;
      const length = Math.min(size - at, grain * (1 + next(grain === clusterSize ? 3 : 50)));
      if (kind === "discard" && length % clusterSize !== 0 && at + length !== size) continue;
      steps.push({ kind, at, length, pattern: 1 + next(255) });
    }
    for (const step of steps) {
      await using disk = await open(ours, { writable: true, references: "follow" });
      await carryOut(disk, step);
    }
    for (const step of steps) await qemuIo.run(["-f", "qcow2", "-c", command(step), theirs]);
    expect(await fileDifference(ours, theirs), JSON.stringify(steps)).toBeUndefined();
    await expectSameView(qemuImg, ours);
    rmSync(ours);
    rmSync(theirs);
  });

  const growths = choose({
    clusterSize: [16 * KiB, 64 * KiB],
    size: [512 * KiB, 510 * KiB + 512],
    created: ["off", "metadata", "full"],
    grown: ["off", "metadata", "falloc", "full"],
    behind: [undefined, 300, 900, 2000],
  });
  // QEMU 7.2 maps new space over the cluster that an old end cuts through, and so loses its data.
  const possible = growths.filter(
    ({ size, grown }) => size % (64 * KiB) === 0 || grown === "off" || grown === "metadata",
  );
  it.each(possible)(
    "$size bytes in clusters of $clusterSize, preallocated $created, grown $grown, $behind KiB behind",
    async ({ clusterSize, size, created, grown, behind }) => {
      const values = { cluster_size: clusterSize, preallocation: created, extended_l2: true };
      await createBoth(values, size, behind && behind * KiB);
      expect(await fileDifference(ours, theirs)).toBeUndefined();
      expect(await ourMap(ours)).toEqual(await theirMap(qemuImg, ours));
      await qemuImg.run(["resize", "-q", `--preallocation=${grown}`, theirs, "1M"]);
      const disk = await open(ours, { writable: true, references: "follow" });
      await disk.resize(MiB, { preallocation: grown });
      await disk.close();
      expect(await ourMap(ours)).toEqual(await theirMap(qemuImg, ours));
      expect(await fileDifference(ours, theirs)).toBeUndefined();
      await qemuImg.run(["compare", ours, theirs]);
      rmSync(ours);
      rmSync(theirs);
    },
  );

  describe("convert", () => {
    const source = `${directory}/source`;
    const bytes = new Uint8Array(3 * MiB + 512);
    bytes.set(noise(70_000), 5000);
    bytes.fill(7, 500_000, 520_000);
    bytes.set(noise(400_000), 1_500_000);
    bytes.fill(9, 3 * MiB);

    it.each(
      choose({
        clusterSize: sizes,
        preallocation: ["off", "metadata"],
        sparse: [undefined, 0, 512, 65_536],
        compress: [false, true],
        backed: [false, true],
      })
        .filter(({ preallocation, compress }) => !compress || preallocation === "off")
        .map((row) => [Object.entries(row).join(" "), row] as const),
    )("%s", async (_title, { clusterSize, preallocation, sparse, compress, backed }) => {
      writeFileSync(source, bytes);
      writeFileSync(base, noise(2 * MiB, 5));
      const values = { cluster_size: clusterSize, preallocation, extended_l2: true };
      let from = source;
      if (backed) {
        from = `${directory}/overlay`;
        await qemuImg.run([
          ..."create -q -f qcow2 -o extended_l2=on -F raw -b".split(" "),
          base,
          from,
          "3M",
        ]);
        await qemuIo.run(["-c", "write -P 4 100k 30k", "-c", "write -z 1M 70k", from]);
      }
      await qemuImg.run([
        ..."convert -O qcow2 -o".split(" "),
        optionString(values),
        ...(sparse === undefined ? [] : ["-S", String(sparse)]),
        ...(compress ? ["-c"] : []),
        ...(backed ? ["-B", base, "-F", "raw"] : []),
        from,
        theirs,
      ]);
      await convert({
        sources: [from],
        target: ours,
        targetFormat: "qcow2",
        targetOptions: values,
        compress,
        sparseSize: sparse,
        ...(backed && { backing: { name: base, format: "raw" } }),
      });
      await qemuImg.run(["compare", ours, theirs]);
      await expectSameView(qemuImg, ours);
      await expectSameView(qemuImg, theirs);
      if (!compress) expect(await fileDifference(ours, theirs)).toBeUndefined();
      rmSync(ours);
      rmSync(theirs);
    });
  });

  /** An image whose first cluster is data and whose second is packed, and where its L2 table is. */
  const table = 0x40000;
  const damages: ReadonlyArray<readonly [what: string, at: number, byte: number, reads: boolean]> =
    [
      ["data in a cluster without a place", 0x2f, 1, false],
      ["data and zeros at once", 0x0b, 1, false],
      ["a packed cluster with zeros", 0x1b, 1, true],
      ["a packed cluster with data", 0x1f, 4, true],
      ["the zero flag of normal entries", 0x07, 1, true],
      ["a reserved bit", 0x07, 8, true],
      ["an unaligned place", 0x06, 2, false],
    ];
  it.each(damages)("an entry with %s", async (_what, at, byte, reads) => {
    await qemuImg.run([..."create -q -f qcow2 -o extended_l2=on".split(" "), theirs, "1M"]);
    await qemuIo.run(["-c", "write -P 5 0 64k", "-c", "write -c -P 6 64k 64k", theirs]);
    const image = readFileSync(theirs);
    image[table + at] = byte;
    writeFileSync(theirs, image);
    const { stdout, stderr } = await qemuImg.attempt(["check", theirs]);
    const report = await check({ name: theirs });
    for (const { message } of report.problems) expect(stdout + stderr).toContain(message);
    const { stdout: json } = await qemuImg.attempt(["check", "--output=json", theirs]);
    const counts = JSON.parse(json) as Record<string, number>;
    expect(report.corruptions).toBe(counts["corruptions"] ?? 0);
    expect(report.leaks).toBe(counts["leaks"] ?? 0);
    const before = readFileSync(theirs);
    copyFileSync(theirs, ours);
    const said: string[] = [];
    const opened = (): Promise<Disk> =>
      open(ours, { writable: true, onCorruption: (message) => said.push(message) });
    if (reads) {
      await using disk = await opened();
      await disk.read(0, new Uint8Array(192 * KiB));
      return;
    }
    {
      await using disk = await opened();
      const found = await errorOf(disk.read(0, new Uint8Array(192 * KiB)));
      expect(found.code).toBe("E_CORRUPT");
      const commands = ["-c", "read 0 64k", "-c", "read 128k 64k"];
      expect((await qemuIo.attempt([...commands, theirs])).stderr).toContain(said[0]);
    }
    expect(readFileSync(ours).equals(readFileSync(theirs))).toBe(true);
    const cluster = at >= 0x20 ? 128 * KiB : 0;
    for (const start of [cluster, cluster + 10 * KiB]) {
      writeFileSync(ours, before);
      await using disk = await opened();
      const refused = await errorOf(disk.write(start, new Uint8Array(4 * KiB)));
      expect(refused.code).toBe("E_CORRUPT");
    }
    // Nothing but the mark has changed.
    before[79]! |= 2;
    expect(readFileSync(ours).equals(before)).toBe(true);
  });
});
