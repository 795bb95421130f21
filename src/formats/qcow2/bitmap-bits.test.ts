import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BitmapBits } from "./bitmap-bits.ts";

/** Which granules of a disk are dirty, by the plainest means. */
class PlainBits {
  granules: boolean[];
  readonly granularity: number;
  size: number;
  constructor(size: number, granularity: number) {
    this.size = size;
    this.granularity = granularity;
    this.granules = Array.from({ length: Math.ceil(size / granularity) }, () => false);
  }
  set(start: number, end: number): void {
    this.granules = this.granules.map(
      (old, i) => old || (start < (i + 1) * this.granularity && i * this.granularity < end),
    );
  }
  resize(size: number): void {
    const length = Math.ceil(size / this.granularity);
    this.granules = Array.from({ length }, (_, i) => this.granules[i] ?? false);
    this.size = size;
  }
}

const dirtyOf = (bits: BitmapBits, granularity: number, size: number): boolean[] => {
  const granules = Array.from({ length: Math.ceil(size / granularity) }, () => false);
  let last = -1;
  for (const { start, end } of bits.ranges()) {
    expect(start).toBeGreaterThan(last);
    expect(end).toBeGreaterThan(start);
    expect(start % granularity).toBe(0);
    expect(end === size || end % granularity === 0).toBe(true);
    for (let at = start; at < end; at += granularity) granules[at / granularity] = true;
    last = end;
  }
  return granules;
};

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.tuple(fc.constant("set"), fc.nat(300), fc.integer({ min: 1, max: 200 })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constant("resize"), fc.integer({ min: 1, max: 400 }), fc.nat(1)),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constant("reload"), fc.nat(1), fc.nat(1)) },
);

describe("the bits of a bitmap", () => {
  it("are those of a plain array, after every step", () => {
    // Pieces of 8 and 16 bytes, so that disks of some hundred granules have many.
    const cases = [
      fc.constantFrom(8, 16),
      fc.integer({ min: 1, max: 400 }),
      fc.array(step),
    ] as const;
    const property = fc.property(...cases, (clusterSize, granules, steps) => {
      const unit = 512;
      const plain = new PlainBits(granules * unit - 100, unit);
      let bits = new BitmapBits(plain.size, 9, clusterSize);
      for (const [kind, a, b] of steps) {
        if (kind === "set") {
          const start = a * unit + (b % 3) * 100;
          plain.set(start, start + b * 200);
          bits.set(start, start + b * 200);
        } else if (kind === "resize") {
          plain.resize(a * unit - 50);
          bits.resize(plain.size);
        } else {
          const again = new BitmapBits(plain.size, 9, clusterSize);
          for (const [index, bytes] of bits.stored()) {
            expect(index).toBeLessThan(bits.pieceCount);
            expect(bytes.length).toBe(clusterSize);
            expect(bytes.some((byte) => byte !== 0)).toBe(true);
            again.load(index, bytes.slice());
          }
          bits = again;
        }
        expect(dirtyOf(bits, unit, plain.size)).toEqual(plain.granules);
      }
    });
    fc.assert(property);
  });

  it("are stored with the lowest bit of the first byte first", () => {
    const bits = new BitmapBits(1 << 20, 9, 512);
    bits.set(0, 1);
    bits.set(512 * 9, 512 * 10);
    const [[index, bytes] = [-1, new Uint8Array(0)]] = bits.stored();
    expect([index, bytes[0], bytes[1], bytes[2]]).toEqual([0, 1, 2, 0]);
  });

  it("of a stored piece do not reach past the end of the disk", () => {
    const bits = new BitmapBits(512 * 11 - 1, 9, 512);
    bits.load(0, "ones");
    expect([...bits.ranges()]).toEqual([{ start: 0, end: 512 * 11 - 1 }]);
    const garbage = new BitmapBits(512 * 11 - 1, 9, 512);
    garbage.load(0, new Uint8Array(512).fill(0xff));
    expect([...garbage.ranges()]).toEqual([{ start: 0, end: 512 * 11 - 1 }]);
    garbage.resize(512 * 40);
    expect([...garbage.ranges()]).toEqual([{ start: 0, end: 512 * 11 }]);
  });

  it("of the largest disk take no memory while they are clean or full", () => {
    const bits = new BitmapBits(2 ** 50, 31, 65536);
    expect(bits.pieceCount).toBe(1);
    bits.set(2 ** 49, 2 ** 49 + 1);
    expect([...bits.ranges()]).toEqual([{ start: 2 ** 49, end: 2 ** 49 + 2 ** 31 }]);
    const fine = new BitmapBits(2 ** 40, 9, 65536);
    fine.set(0, 2 ** 40);
    expect(new Set(fine.stored().map(([, bytes]) => bytes)).size).toBe(1);
    expect([...fine.ranges()]).toEqual([{ start: 0, end: 2 ** 40 }]);
    fine.clear();
    expect(fine.stored()).toEqual([]);
  });
});
