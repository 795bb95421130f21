/**
 * qcow2 images both ways: what qemu-io writes we read, map and check as QEMU does; what we write QEMU
 * finds clean and reads. In CI each value of an option meets each value of every other; LONG=1 runs
 * all combinations. Steps come from a fixed generator: a failure names its options and seed.
 */
import { rmSync, writeFileSync } from "node:fs";
import { describe, expect, inject, it } from "vitest";
import { compare, create, open, type FormatOptionValues } from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import {
  MiB,
  clusterSizes,
  expectSameView,
  fileDifference,
  layouts,
  minExtendedCluster,
  optionString,
  pairwise,
  preallocations,
  product,
  temporaryDirectory,
} from "./kit.ts";
import {
  expectHolds,
  expectTheyRead,
  makeSteps,
  model,
  ourSteps,
  packedFirst,
  theirSteps,
  type Ground,
  type Step,
} from "./patterns.ts";

const axes = {
  clusterSize: clusterSizes,
  layout: layouts,
  preallocation: preallocations,
  compression: ["zlib", "zstd"],
  extended: [false, true],
} as const;

/** An image to be made, and what is done with it. */
interface Subject extends Ground {
  readonly values: FormatOptionValues;
  readonly title: string;
}

const subjects: Subject[] = (inject("effort") > 1 ? product(axes) : pairwise(axes)).map(
  ({ clusterSize, layout, preallocation, compression, ...drawn }, seed) => {
    const version = layout.compat === "1.1" ? 3 : 2;
    const extended = drawn.extended && version === 3 && clusterSize >= minExtendedCluster;
    const entrySize = extended ? 16 : 8;
    const values = {
      cluster_size: clusterSize,
      compat: layout.compat,
      refcount_bits: layout.bits,
      preallocation,
      compression_type: version === 3 ? compression : "zlib",
      ...(extended && { extended_l2: true }),
    };
    const span = (clusterSize * clusterSize) / entrySize;
    const inTwoTables = span + 9 * clusterSize + 3 * 512;
    // What has to be allocated stays small.
    const limit = { off: Infinity, metadata: 1024 * MiB, falloc: 64 * MiB, full: 8 * MiB };
    const size = Math.min(inTwoTables, Math.max(limit[preallocation], 9 * clusterSize) - 512);
    const kinds: Step["kind"][] = ["write", "write", "zero", "unmap", "discard"];
    // Nothing can be compressed into a place that is taken; a refcount of one bit holds one of them.
    if (preallocation === "off") kinds.push("packed", "packed");
    const title = `${optionString(values)} size=${size} seed=${seed}`;
    return { values, title, clusterSize, entrySize, size, version, kinds, count: 24, seed };
  },
);

/** For `it.each`: a `%s` shows the whole title, which `$title` does not. */
const titled = (group: readonly Subject[]): Array<[string, Subject]> =>
  group.map((subject) => [subject.title, subject]);

describePeer(["qemu-img@7.2", "qemu-io@7.2"], "qcow2 both ways", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const ours = `${directory}/ours`;
  const theirs = `${directory}/theirs`;
  const bySize = Map.groupBy(subjects, ({ clusterSize }) => clusterSize);

  describe.each([...bySize])("clusters of %d bytes", (_, group) => {
    it.each(titled(group))("theirs, read by us: %s", async (_title, subject) => {
      const { size, values } = subject;
      const told = optionString(values);
      await qemuImg.run(["create", "-q", "-f", "qcow2", "-o", told, theirs, String(size)]);
      const steps = packedFirst(makeSteps(subject));
      await theirSteps(qemuIo, theirs, steps);
      await expectHolds(theirs, await model(size, steps));
      await expectSameView(qemuImg, theirs);
      rmSync(theirs);
    });

    it.each(titled(group))("ours, read by them: %s", async (_title, subject) => {
      const { size, values, clusterSize } = subject;
      await create({ name: ours, format: "qcow2", size, formatOptions: values });
      const steps = makeSteps(subject);
      await ourSteps(ours, steps);
      const expected = await model(size, steps);
      await expectTheyRead(qemuIo, ours, expected, steps);
      await expectSameView(qemuImg, ours);

      // A larger disk shows zeros behind the old end, a smaller one loses its end and nothing else.
      for (const changed of [size + 5 * clusterSize + 512, size - 2 * clusterSize - 512]) {
        if (changed <= 0) continue;
        await using disk = await open(ours, { writable: true });
        await disk.resize(changed);
        await disk.close();
        await expected.truncate(changed);
        await expectHolds(ours, expected);
        await expectSameView(qemuImg, ours);
      }
      rmSync(ours);
    });
  });

  it.each([512, 4096, 65536])(
    "a disk in clusters of %d bytes that both wrote is the same by compare and qemu-img compare",
    async (clusterSize) => {
      const size = 4 * MiB + 512;
      const ground: Ground = {
        clusterSize,
        size,
        version: 3,
        count: 40,
        seed: clusterSize,
        kinds: ["write", "packed", "zero", "unmap", "discard"],
      };
      const steps = packedFirst(makeSteps(ground));
      const values = { cluster_size: clusterSize };
      await create({ name: ours, format: "qcow2", size, formatOptions: values });
      await create({ name: theirs, format: "qcow2", size, formatOptions: values });
      await ourSteps(ours, steps);
      await theirSteps(qemuIo, theirs, steps);
      expect((await compare({ first: ours, second: theirs })).identical).toBe(true);
      await qemuImg.run(["compare", ours, theirs]);
      const raw = `${directory}/raw`;
      writeFileSync(raw, (await model(size, steps)).toBytes());
      await qemuImg.run(
        ["compare", "-s", "-f", "qcow2", "-F", "raw", ours, raw].filter((word) => word !== "-s"),
      );
      expect((await compare({ first: raw, second: theirs, firstFormat: "raw" })).identical).toBe(
        true,
      );
      await using disk = await open(ours, { writable: true });
      await disk.write(3 * MiB + 511, new Uint8Array([1]));
      await disk.close();
      const found = await compare({ first: ours, second: theirs });
      const { status, stdout } = await qemuImg.attempt(["compare", ours, theirs]);
      expect(status).toBe(1);
      expect(found).toMatchObject({ identical: false, difference: { kind: "content" } });
      expect(stdout).toContain(String(3 * MiB));
    },
  );

  it.each(titled(subjects.filter(({ values }) => values["preallocation"] !== "full")))(
    "the same writes make the same bytes: %s",
    async (_title, subject) => {
      const { size, values } = subject;
      const steps = makeSteps({ ...subject, kinds: ["write"], count: 12 });
      for (const name of [ours, theirs]) {
        await create({ name, format: "qcow2", size, formatOptions: values });
      }
      await ourSteps(ours, steps);
      await theirSteps(qemuIo, theirs, steps);
      expect(await fileDifference(ours, theirs)).toBeUndefined();
      rmSync(ours);
      rmSync(theirs);
    },
  );
});
