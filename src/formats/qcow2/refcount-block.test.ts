import { describe, expect, test } from "vitest";
import { areSingle, getRefcount, setRefcount } from "./refcount-block.ts";

const viewOf = (...bytes: number[]): DataView => new DataView(Uint8Array.from(bytes).buffer);

describe("refcounts in a block", () => {
  // Below a byte, the first refcount is in the least significant bits.
  test.each<[order: number, bytes: number[], counts: number[]]>([
    [0, [0b1000_0101, 1], [1, 0, 1, 0, 0, 0, 0, 1, 1, 0]],
    [1, [0b11_10_01_00, 0b01], [0, 1, 2, 3, 1, 0]],
    [2, [0x3f, 0xa0], [15, 3, 0, 10]],
    [3, [0, 255, 7], [0, 255, 7]],
    [4, [0x12, 0x34, 0, 1], [0x1234, 1]],
    [5, [0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0], [0xffff_ffff, 256]],
    [6, [0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [2 ** 53 - 1]],
    [6, [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3], [2 ** 32 + 2, 3]],
  ])("of 2^%d bits", (order, bytes, counts) => {
    const view = viewOf(...bytes);
    expect(counts.map((_, i) => getRefcount(view, i, order))).toEqual(counts);
    const written = viewOf(...bytes.map(() => 0));
    for (const [i, count] of counts.entries()) setRefcount(written, i, order, count);
    expect(new Uint8Array(written.buffer)).toEqual(new Uint8Array(view.buffer));
  });

  test.each([0, 1, 2, 3, 4, 5, 6])("of 2^%d bits: neighbours stay", (order) => {
    const ones = new DataView(new Uint8Array(64).fill(255).buffer);
    setRefcount(ones, 3, order, 0);
    expect(getRefcount(ones, 3, order)).toBe(0);
    expect(getRefcount(ones, 2, order)).toBeGreaterThan(0);
    expect(getRefcount(ones, 4, order)).toBeGreaterThan(0);
    const bits = new Uint8Array(ones.buffer).reduce(
      (sum, byte) => sum + byte.toString(2).replaceAll("0", "").length,
      0,
    );
    expect(bits).toBe(512 - 2 ** order);
  });

  test.each([0, 1, 2, 3, 4, 5, 6])("of 2^%d bits: in a row", (order) => {
    const view = new DataView(new ArrayBuffer(64));
    const last = 512 / 2 ** order - 1;
    expect(areSingle(view, 0, last, order, false)).toBe(true);
    for (let i = 1; i < 5; i++) setRefcount(view, i, order, 1);
    expect(areSingle(view, 1, 4, order, true)).toBe(true);
    expect(areSingle(view, 1, 5, order, true)).toBe(false);
    expect(areSingle(view, 0, 5, order, true)).toBe(false);
    expect(areSingle(view, 4, 2, order, false)).toBe(false);
    expect(areSingle(view, 5, last - 5, order, false)).toBe(true);
    expect(areSingle(view, 3, 0, order, false)).toBe(true);
    if (order === 0) return;
    setRefcount(view, 2, order, 2);
    expect(areSingle(view, 1, 4, order, true)).toBe(false);
    expect(areSingle(view, 2, 1, order, false)).toBe(true);
  });
});
