import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { Buffers } from "../bytes/index.ts";
import { localPool, portableCodecs } from "../codec/index.ts";
import { openDisk, qcow2 } from "./index.ts";
import { MemoryStorage } from "../storage/index.ts";

import { Gatherer, type Disk } from "../disk/index.ts";

const clusterSize = 4096;
const clusters = 24;
const size = clusters * clusterSize - 1024;

/** A disk over `base`, with data, compressed clusters and zeros where `kinds` says so. */
async function layer(kinds: readonly number[], base?: MemoryStorage): Promise<MemoryStorage> {
  const storage = new MemoryStorage({ name: "layer" });
  const made = await qcow2.create!(storage, {
    size,
    values: { cluster_size: clusterSize },
    ...(base !== undefined && { backing: { name: "base", format: "qcow2" } }),
  });
  await made.finish({ durable: false });
  await using disk = await open(storage, base, true);
  for (const [i, kind] of kinds.entries()) {
    const at = i * clusterSize;
    const bytes = new Uint8Array(Math.min(clusterSize, size - at)).map((_, j) => i + (j >> 4));
    if (kind === 1) await disk.write(at, bytes);
    if (kind === 2) await disk.writeCompressed(at, bytes);
    if (kind === 3) await disk.writeZeroes(at, bytes.length);
  }
  await disk.flush();
  return storage.clone();
}

const open = (
  storage: MemoryStorage,
  base: MemoryStorage | undefined,
  writable = false,
): Promise<Disk> =>
  openDisk(storage, {
    writable,
    format: "qcow2",
    codecs: portableCodecs,
    references: base === undefined ? "deny" : () => Promise.resolve(base.clone()),
  });

test("gathers what reading gives, through a chain of data, compressed clusters and zeros", async () => {
  const kinds = fc.array(fc.nat(3), { minLength: clusters, maxLength: clusters });
  const cuts = fc
    .uniqueArray(fc.nat(size), { minLength: 2, maxLength: 8 })
    .map((all) => all.toSorted((a, b) => a - b));
  const property = fc.asyncProperty(kinds, kinds, cuts, async (below, above, points) => {
    const base = await layer(below);
    await using disk = await open(await layer(above, base), base);
    const at = points[0]!;
    const ranges = points.slice(1).flatMap((end, i) => (i % 2 === 0 ? [[points[i]!, end]] : []));
    const into = new Uint8Array(size - at).fill(0xee);
    const expected = into.slice();
    for (const [start, end] of ranges) {
      await disk.read(start!, expected.subarray(start! - at, end! - at));
    }
    const gatherer = new Gatherer(localPool(portableCodecs), new Buffers());
    const wanted = ranges.map(([start, end]) => ({ start: start!, end: end! }));
    expect(await gatherer.gather(disk, wanted, at, into)).toEqual(expected);
  });
  await fc.assert(property, { numRuns: 60 * inject("effort") });
});

test("a compressed cluster that is damaged or missing is an error that names it", async () => {
  const storage = await layer(Array.from({ length: clusters }, () => 2));
  const gatherer = new Gatherer(localPool(portableCodecs), new Buffers());
  const everything = [{ start: 0, end: size }];
  const bytes = storage.toBytes();
  const places: number[] = [];
  await using whole = await open(storage.clone(), undefined);
  for await (const { compressed, offset } of whole.extents()) {
    if (compressed && offset !== undefined) places.push(offset);
  }
  const place = whole.image.storage.size - 300;
  await using cut = await open(MemoryStorage.from(bytes.slice(0, 6 * clusterSize)), undefined);
  await expect(gatherer.gather(cut, everything, 0, new Uint8Array(size))).rejects.toMatchObject({
    code: expect.stringMatching(/E_TRUNCATED|E_CODEC/),
  });
  bytes.fill(0xff, place);
  await using bad = await open(MemoryStorage.from(bytes), undefined);
  await expect(gatherer.gather(bad, everything, 0, new Uint8Array(size))).rejects.toMatchObject({
    code: "E_CODEC",
  });
});
