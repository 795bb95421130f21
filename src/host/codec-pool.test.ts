import { describe, expect, test } from "vitest";
import type { Bytes } from "../bytes/index.ts";
import { localPool, type CodecPool, type CompressionType, type Packed } from "../codec/index.ts";
import { threadPool } from "./codec-pool.ts";
import { nodeCodecs } from "./codecs.ts";
import { watchThreads } from "./watch-threads.test-kit.ts";

const clusterSize = 4096;
const count = 8;

/** Clusters that compress, and one that does not. */
function data(seed: number): Bytes {
  const bytes = new Uint8Array(clusterSize * count);
  let state = seed + 1;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = i < clusterSize ? state >>> 24 : (state >>> 30) + seed;
  }
  return bytes;
}

const pack = (
  pool: CodecPool,
  type: CompressionType,
  seed: number,
  level?: number,
): Promise<Packed> =>
  pool.pack({
    type,
    level,
    clusterSize,
    data: data(seed),
    clusters: Array.from({ length: count }, (_, i) => i * clusterSize),
    room: new Uint8Array(clusterSize * count),
  });

const { started: threads, ended } = watchThreads();

describe.each<CompressionType>(["zlib", "zstd"])("%s", (type) => {
  test.each([1, 2, 5])("%d threads give what one thread gives", async (width) => {
    const pool = threadPool(nodeCodecs, width);
    const local = localPool(nodeCodecs);
    try {
      const seeds = Array.from({ length: 12 }, (_, i) => i);
      const results = await Promise.all(seeds.map((seed) => pack(pool, type, seed)));
      for (const [seed, result] of results.entries()) {
        const expected = await pack(local, type, seed);
        const total = expected.lengths.reduce((sum, length) => sum + length, 0);
        expect(result.lengths).toEqual(expected.lengths);
        expect(result.lengths[0]).toBe(0);
        expect(total).toBeGreaterThan(0);
        expect(result.room.subarray(0, total)).toEqual(expected.room.subarray(0, total));
        expect(result.data).toEqual(data(seed));
      }
      expect(threads).toHaveLength(width > 1 ? width : 0);
    } finally {
      await pool.close();
    }
    expect(ended.size).toBe(threads.length);
  });

  test("unpacks whole clusters and parts, and names the one that is damaged", async () => {
    const pool = threadPool(nodeCodecs, 2);
    try {
      const { lengths, room } = await pack(pool, type, 3);
      const starts = lengths.map((_, i) => lengths.slice(0, i).reduce((a, b) => a + b, 0));
      const cluster = (i: number, at: number, start: number, end: number) => ({
        from: starts[i]!,
        length: lengths[i]!,
        at,
        start,
        end,
      });
      const clusters = [cluster(2, 0, 0, clusterSize), cluster(5, clusterSize, 100, 300)];
      const job = { type, clusterSize, packed: room, data: new Uint8Array(2 * clusterSize) };
      const good = await pool.unpack({ ...job, clusters });
      expect(good.failure).toBeUndefined();
      const whole = data(3);
      expect(good.data.subarray(0, clusterSize)).toEqual(
        whole.subarray(2 * clusterSize, 3 * clusterSize),
      );
      expect(good.data.subarray(clusterSize, clusterSize + 200)).toEqual(
        whole.subarray(5 * clusterSize + 100, 5 * clusterSize + 300),
      );
      good.packed.fill(0xff, starts[5]);
      const bad = await pool.unpack({
        type,
        clusterSize,
        packed: good.packed,
        data: good.data,
        clusters,
      });
      expect(bad.failure).toMatchObject({ index: 1 });
      expect(bad.failure?.reason).toMatch(/zlib|zstd/);
    } finally {
      await pool.close();
    }
  });
});

test("the first job needs no thread", async () => {
  const pool = threadPool(nodeCodecs, 4);
  await pack(pool, "zlib", 1);
  expect(threads).toHaveLength(0);
  await pool.close();
});

test("an error of the codec comes across with its code", async () => {
  const pool = threadPool(nodeCodecs, 2);
  try {
    await pack(pool, "zlib", 1);
    await expect(pack(pool, "zlib", 1, 77)).rejects.toMatchObject({ code: "E_INVALID_ARGUMENT" });
    await expect(pack(pool, "zlib", 1)).resolves.toBeDefined();
  } finally {
    await pool.close();
  }
});

test("a thread that is killed ends every job with one error, those to come included", async () => {
  const pool = threadPool(nodeCodecs, 2);
  await pack(pool, "zlib", 1);
  const jobs = Array.from({ length: 6 }, (_, i) => pack(pool, "zlib", i));
  const outcomes = Promise.allSettled(jobs);
  await new Promise((resolve) => setImmediate(resolve));
  await threads[0]!.terminate();
  const failed = (await outcomes).filter((outcome) => outcome.status === "rejected");
  expect(failed.length).toBeGreaterThan(0);
  for (const { reason } of failed) expect(reason).toMatchObject({ code: "E_IO" });
  await expect(pack(pool, "zlib", 1)).rejects.toMatchObject({ code: "E_IO" });
  await pool.close();
  expect(ended.size).toBe(2);
});

test("closing ends jobs under way", async () => {
  const pool = threadPool(nodeCodecs, 2);
  await pack(pool, "zlib", 1);
  const outcome = pack(pool, "zlib", 2).catch((error: unknown) => error);
  await pool.close();
  await outcome;
  expect(ended.size).toBe(2);
});
