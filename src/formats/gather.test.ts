import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { Buffers, guest } from "../bytes/index.ts";
import { localPool, portableCodecs } from "../codec/index.ts";
import { Gatherer, Kind, Runs, type Disk } from "../disk/index.ts";
import { MemoryStorage } from "../storage/index.ts";
import { openDisk, qcow2 } from "./index.ts";

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
  await using cut = await open(MemoryStorage.from(bytes.slice(0, 6 * clusterSize)), undefined);
  await expect(gatherer.gather(cut, everything, 0, new Uint8Array(size))).rejects.toMatchObject({
    code: expect.stringMatching(/E_TRUNCATED|E_CODEC/),
  });
  bytes.fill(0xff, storage.size - 300);
  await using bad = await open(MemoryStorage.from(bytes), undefined);
  await expect(gatherer.gather(bad, everything, 0, new Uint8Array(size))).rejects.toMatchObject({
    code: "E_CODEC",
  });
});

test("no more is read in vain than is needed, however far apart the clusters are", async () => {
  // A program that opens the image anew does not go on in the host cluster of the last packed one.
  let storage = await layer([]);
  for (let i = 0; i < clusters; i += 6) {
    await using writer = await open(storage, undefined, true);
    await writer.writeCompressed(i * clusterSize, new Uint8Array(clusterSize).fill(i + 1));
    await writer.write((i + 1) * clusterSize, new Uint8Array(4 * clusterSize).fill(1));
    await writer.flush();
    storage = storage.clone();
  }
  await using disk = await open(storage, undefined);
  const buffers = new Buffers();
  let largest = 0;
  const take = buffers.take.bind(buffers);
  buffers.take = (length) => {
    largest = Math.max(largest, length);
    return take(length);
  };
  let packed = 0;
  for (let i = 0; i < clusters; i += 6) {
    const runs = new Runs(1);
    await disk.mapSome(guest(i * clusterSize), guest(i * clusterSize + 1), runs);
    expect(runs.kind[0]).toBe(Kind.compressed);
    packed += runs.hostLength[0]!;
  }
  const gatherer = new Gatherer(localPool(portableCodecs), buffers);
  await gatherer.gather(disk, [{ start: 0, end: size }], 0, new Uint8Array(size));
  expect(packed).toBeGreaterThan(0);
  expect(largest).toBeLessThanOrEqual(2 * packed);
});
