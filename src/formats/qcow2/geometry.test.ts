import { describe, expect, test } from "vitest";
import { blocksNeeded } from "./allocator.ts";
import { Geometry } from "./geometry.ts";

describe("Geometry", () => {
  test.each<[number, number, number, number, number]>([
    // cluster_bits, refcount_order; L2 entries, bytes an L2 table maps, refcounts in a block
    [9, 0, 64, 32 * 1024, 4096],
    [9, 6, 64, 32 * 1024, 64],
    [16, 4, 8192, 512 * 2 ** 20, 32_768],
    [21, 4, 262_144, 512 * 2 ** 30, 2 ** 20],
    [21, 6, 262_144, 512 * 2 ** 30, 262_144],
  ])("cluster_bits %d, refcount_order %d", (bits, order, entries, span, refcounts) => {
    const geometry = new Geometry(bits, order);
    expect(geometry).toMatchObject({
      clusterSize: 2 ** bits,
      l2Entries: entries,
      l2Span: span,
      refcountsPerBlock: refcounts,
      refcountBits: 2 ** order,
    });
  });

  test("largest refcounts", () => {
    const largest = [0, 1, 2, 3, 4, 5, 6].map((order) => new Geometry(16, order).maxRefcount);
    expect(largest).toEqual([1, 3, 15, 255, 65_535, 2 ** 32 - 1, Number.MAX_SAFE_INTEGER]);
  });

  test("L1 entries", () => {
    const geometry = new Geometry(16, 4);
    expect(geometry.l1Entries(0)).toBe(0);
    expect(geometry.l1Entries(1)).toBe(1);
    expect(geometry.l1Entries(512 * 2 ** 20)).toBe(1);
    expect(geometry.l1Entries(512 * 2 ** 20 + 512)).toBe(2);
    expect(new Geometry(21, 4).l1Entries(2 ** 61)).toBe(2 ** 22);
  });
});

describe("blocksNeeded", () => {
  test.each<[clusters: number, bits: number, order: number, generous: boolean, blocks: number]>([
    // 64 refcounts a block, 64 entries a cluster of the table.
    // 61 clusters, one block, one cluster of table: 63.
    [61, 9, 6, false, 1],
    // 62 + 1 + 1 just fit.
    [62, 9, 6, false, 1],
    // 63 + 1 + 1 do not: two blocks.
    [63, 9, 6, false, 2],
    // 125 + 2 + 1 = 128 = two blocks' worth; one more is three.
    [125, 9, 6, false, 2],
    [126, 9, 6, false, 3],
    // 64 blocks count 4096: 64 themselves, one cluster of table, 4031 others.
    [4031, 9, 6, false, 64],
    // One more is 65 blocks, whose table takes two clusters.
    [4032, 9, 6, false, 65],
    // Room for the table to grow by half (rounded up, one cluster here).
    [61, 9, 6, true, 1],
    [62, 9, 6, true, 2],
    // Defaults: 32768 refcounts a block.
    [32_766, 16, 4, false, 1],
    [32_767, 16, 4, false, 2],
  ])(
    "%d clusters of 2^%d, order %d, generous %o: %d",
    (clusters, bits, order, generous, blocks) => {
      expect(blocksNeeded(clusters, new Geometry(bits, order), generous)).toBe(blocks);
    },
  );
});
