import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Buffers, dataRuns, wideRuns } from "../bytes/index.ts";
import { Gatherer, type Disk } from "../disk/index.ts";
import { openDisk, qcow2, raw } from "../formats/index.ts";
import { MemoryStorage } from "../storage/index.ts";
import { localPool, portableCodecs } from "../codec/index.ts";
import { copy, type CopyProgress } from "./copy.ts";
import { plan, planTopLayer, type Segment } from "./plan.ts";
import { concatenate, fromDisk } from "./source.ts";

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

const runs = (bytes: Uint8Array, at: number, sparse: number): string =>
  [...dataRuns(bytes, at, sparse)].map(({ start, end }) => `${start}-${end}`).join(" ");

const withData = (length: number, ...places: number[]): Uint8Array => {
  const bytes = new Uint8Array(length);
  for (const place of places) bytes[place] = 1;
  return bytes;
};

describe("dataRuns", () => {
  test("zeros of at least `sparse` bytes split, in pieces of that size", () => {
    expect(runs(withData(16_384, 0, 12_288), 0, 4096)).toBe("0-4096 12288-16384");
    expect(runs(withData(16_384, 0, 8192), 0, 4096)).toBe("0-4096 8192-12288");
    expect(runs(withData(16_384, 0, 8192), 0, 8192)).toBe("0-16384");
    expect(runs(new Uint8Array(16_384), 0, 4096)).toBe("");
    expect(runs(withData(16_384, 5000), 0, 0)).toBe("0-16384");
  });

  test("pieces lie at multiples of 4 KiB of the guest", () => {
    expect(runs(withData(8192, 100), 1024, 4096)).toBe("0-3072");
    expect(runs(withData(8192, 4000), 1024, 4096)).toBe("3072-7168");
  });

  test("smaller pieces for a smaller limit", () => {
    expect(runs(withData(4096, 600), 0, 512)).toBe("512-1024");
    expect(runs(withData(4096, 600), 0, 1000)).toBe("512-1024");
  });

  test("leave out nothing but zeros", () => {
    const arbitrary = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((seeds) => {
      const bytes = new Uint8Array(seeds.length * 700);
      for (const [i, seed] of seeds.entries()) if (seed > 150) bytes[i * 700 + seed] = seed;
      return bytes;
    });
    fc.assert(
      fc.property(arbitrary, fc.nat(10_000), fc.nat(9000), (bytes, at, sparse) => {
        const kept = new Uint8Array(bytes.length);
        let last = 0;
        for (const { start, end } of dataRuns(bytes, at, sparse)) {
          expect(start).toBeGreaterThanOrEqual(last);
          expect(end).toBeGreaterThan(start);
          kept.set(bytes.subarray(start, end), start);
          last = end;
        }
        expect(kept).toEqual(bytes);
      }),
    );
  });
});

test("wideRuns are those of dataRuns in whole units, and meet nowhere", () => {
  const wide = (bytes: Uint8Array, at: number, unit: number): string =>
    [...wideRuns(bytes, at, 512, unit)].map(({ start, end }) => `${start}-${end}`).join(" ");
  expect(wide(withData(8192, 600, 3000, 7000), 0, 2048)).toBe("0-4096 6144-8192");
  expect(wide(withData(8192, 600, 3000, 7000), 0, 512)).toBe("512-1024 2560-3072 6656-7168");
  // Units are those of the guest, and bytes end where they end.
  expect(wide(withData(5000, 100, 4900), 1024, 4096)).toBe("0-5000");
  expect(wide(withData(3000, 2900), 1024, 4096)).toBe("0-3000");
  expect(wide(new Uint8Array(8192), 0, 4096)).toBe("");
});

async function newDisk(size: number, clusterSize: number, base?: MemoryStorage): Promise<Disk> {
  const storage = new MemoryStorage({ name: `disk${clusterSize}` });
  const made = await qcow2.create!(storage, {
    size,
    values: { cluster_size: clusterSize },
    ...(base !== undefined && { backing: { name: "base", format: "raw" } }),
  });
  await made.finish({ durable: false });
  return openDisk(storage, {
    writable: true,
    codecs: portableCodecs,
    references: () => Promise.resolve(base!.clone()),
  });
}

const drawn = (segments: readonly Segment[]): string[] =>
  segments.map(
    ({ start, end, pieces }) =>
      `${start}-${end}:${pieces.map((piece) => `${piece.start}-${piece.end}`).join(",")}`,
  );

describe("plan", () => {
  test("covers the disk, in units, from the mapping", async () => {
    const disk = await newDisk(100 * 1024, 512);
    await disk.write(5000, new Uint8Array(300).fill(1));
    await disk.write(70_000, new Uint8Array(3000).fill(1));
    const cut = plan(fromDisk(disk), { unit: 4096, longest: 32_768, signal: undefined });
    expect(drawn(await collect(cut))).toEqual([
      "0-4096:",
      "4096-8192:4608-5632",
      "8192-69632:",
      "69632-73728:69632-73216",
      "73728-102400:",
    ]);
  });

  test("cuts long data at multiples of the longest segment", async () => {
    const disk = await newDisk(64 * 1024, 512);
    await disk.write(10_000, new Uint8Array(40_000).fill(1));
    const cut = plan(fromDisk(disk), { unit: 512, longest: 16_384, signal: undefined });
    expect(drawn(await collect(cut))).toEqual([
      "0-9728:",
      "9728-16384:9728-16384",
      "16384-32768:16384-32768",
      "32768-49152:32768-49152",
      "49152-50176:49152-50176",
      "50176-65536:",
    ]);
  });

  test("the top layer alone", async () => {
    const disk = await newDisk(8192, 512, MemoryStorage.from(new Uint8Array(8192).fill(9)));
    await disk.write(1024, new Uint8Array(512).fill(1));
    await disk.writeZeroes(4096, 1024);
    const cut = planTopLayer(fromDisk(disk), {
      backed: 8192,
      unit: 1,
      longest: 4096,
      signal: undefined,
    });
    expect(drawn(await collect(cut))).toEqual(["1024-1536:1024-1536", "4096-5120:"]);
    const wide = planTopLayer(fromDisk(disk), {
      backed: 8192,
      unit: 2048,
      longest: 4096,
      signal: undefined,
    });
    expect(drawn(await collect(wide))).toEqual(["0-2048:0-2048", "4096-6144:4096-6144"]);
  });
});

describe("copy", () => {
  const kinds = [{}, { compress: true }, { sparse: 0 }, { sparse: 65_536 }] as const;
  test.each(kinds)("the target reads as the source: %o", async (kind) => {
    for (const clusterSize of [512, 4096, 65_536]) {
      const source = await newDisk(500 * 1024, 2048);
      await source.write(3000, new Uint8Array(100_000).fill(1));
      await source.write(300_000, new Uint8Array(7).fill(2));
      await source.write(511_900, new Uint8Array(100).fill(3));
      const target = await newDisk(512 * 1024, clusterSize);
      const seen: CopyProgress[] = [];
      const options = {
        ...kind,
        targetIsZero: true,
        onProgress: (at: CopyProgress) => seen.push(at),
      };
      await copy(fromDisk(source), target, portableCodecs, options);
      const expected = new Uint8Array(source.size);
      const found = new Uint8Array(source.size);
      await source.read(0, expected);
      await target.read(0, found);
      expect(found).toEqual(expected);
      expect(seen[0]).toEqual({ done: 0, total: source.size });
      expect(seen.at(-1)).toEqual({ done: source.size, total: source.size });
      expect(seen.map(({ done }) => done)).toEqual(
        seen.map(({ done }) => done).toSorted((a, b) => a - b),
      );
    }
  });

  test.each([false, true])(
    "a top layer with smaller clusters than the target's, compressed: %o",
    async (compress) => {
      const base = MemoryStorage.from(new Uint8Array(300_032).fill(9));
      const source = await newDisk(300_032, 512, base);
      await source.write(10_000, new Uint8Array(3000).fill(1));
      await source.writeZeroes(40_960, 1024);
      await source.write(200_000, new Uint8Array(100_032).fill(2));
      const target = await newDisk(300_032, 65_536, base);
      await copy(fromDisk(source), target, portableCodecs, { topLayerOnly: true, compress });
      const expected = new Uint8Array(source.size);
      const found = new Uint8Array(source.size);
      await source.read(0, expected);
      await target.read(0, found);
      expect(found).toEqual(expected);
    },
  );

  test("what was in the target is gone, but for what is past the source", async () => {
    const source = await newDisk(128 * 1024, 4096);
    await source.write(50_000, new Uint8Array(1000).fill(1));
    const storage = MemoryStorage.from(new Uint8Array(192 * 1024).fill(7));
    const target = await openDisk(storage, { writable: true, format: raw.name });
    await copy(fromDisk(source), target, portableCodecs, {});
    const expected = new Uint8Array(192 * 1024).fill(7);
    await source.read(0, expected.subarray(0, source.size));
    expect(storage.toBytes()).toEqual(expected);
  });

  test("a target that is too small", async () => {
    await expect(
      copy(fromDisk(await newDisk(2048, 512)), await newDisk(1024, 512), portableCodecs, {}),
    ).rejects.toMatchObject({
      code: "E_OUT_OF_RANGE",
    });
  });

  test("stops between segments", async () => {
    const source = await newDisk(8 * 2 ** 20, 65_536);
    await source.write(0, new Uint8Array(8 * 2 ** 20).fill(1));
    const controller = new AbortController();
    const copying = copy(fromDisk(source), await newDisk(8 * 2 ** 20, 65_536), portableCodecs, {
      signal: controller.signal,
      onProgress: ({ done }) => {
        if (done > 0) controller.abort();
      },
    });
    await expect(copying).rejects.toMatchObject({ code: "E_ABORTED" });
  });
});

test("disks one after the other are one", async () => {
  const first = await newDisk(1024, 512);
  const second = await newDisk(2048, 512);
  await first.write(512, new Uint8Array(512).fill(1));
  await second.write(0, new Uint8Array(512).fill(2));
  const both = concatenate([first, second]);
  expect(both.size).toBe(3072);
  const found = new Uint8Array(1024);
  const gatherer = new Gatherer(localPool(portableCodecs), new Buffers());
  await both.gather(gatherer, [{ start: 512, end: 1536 }], 512, found);
  expect([found[0], found[511], found[512], found[1023]]).toEqual([1, 1, 2, 2]);
  const extents = await collect(both.extents({ start: 600 }));
  expect(extents.map(({ start, length, zero }) => [start, length, zero])).toEqual([
    [600, 424, false],
    [1024, 512, false],
    [1536, 1536, true],
  ]);
});
