/** Values worked out by hand from the specification's bit positions. */
import { describe, expect, test } from "vitest";
import { host } from "../../bytes/index.ts";
import {
  compressedOffsetBits,
  copiedBit,
  decodeCompressed,
  encodeCompressed,
  hostOffset,
  lowerHalf,
  upperHalf,
} from "./entries.ts";

const halves = (entry: bigint): [number, number] => [
  Number(entry >> 32n),
  Number(entry & 0xffff_ffffn),
];

describe("standard entries: bits 9 to 55 are the host offset", () => {
  test.each<[bigint, number]>([
    [0n, 0],
    [0x8000_0000_0005_0000n, 0x50000],
    [0x8000_0000_0005_0001n, 0x50000],
    [0x0000_0000_0000_01ffn, 0],
    [0x0000_0000_0000_0200n, 512],
    [0xff00_0000_0000_01ffn, 0],
    [0x0000_0000_ffff_fe00n, 0xffff_fe00],
    [0x0000_0001_0000_0000n, 2 ** 32],
    [0x001f_ffff_ffff_fe00n, 2 ** 53 - 512],
    [0x0020_0000_0000_0000n, 2 ** 53],
    [0x0080_0000_0000_0000n, 2 ** 55],
    [0xffff_ffff_ffff_ffffn, 2 ** 56 - 512],
  ])("%s", (entry, offset) => {
    expect(hostOffset(...halves(entry))).toBe(offset);
  });

  test.each([0, 512, 2 ** 31, 2 ** 32 - 512, 2 ** 32, 2 ** 45 + 2 ** 31, 2 ** 53 - 512])(
    "offset %d in halves",
    (offset) => {
      const entry =
        (BigInt(upperHalf(host(offset)) + copiedBit) << 32n) | BigInt(lowerHalf(host(offset)));
      expect(entry).toBe((1n << 63n) | BigInt(offset));
    },
  );
});

describe("compressed descriptors: x = 62 - (cluster_bits - 8)", () => {
  test.each([
    [9, 61],
    [12, 58],
    [16, 54],
    [21, 49],
  ])("cluster_bits %d: x is %d", (bits, x) => {
    expect(compressedOffsetBits(bits)).toBe(x);
  });

  test.each<[clusterBits: number, offset: number, length: number, entry: bigint]>([
    // 64 KiB: bits 54 to 61 count additional sectors. 1000 bytes at 0x50123 end in sector 0x50400:
    // from sector 0x50000 that is two more.
    [16, 0x50123, 1000, (1n << 62n) | (2n << 54n) | 0x50123n],
    // Ends exactly at the end of its sector: no additional one.
    [16, 0x50000, 512, (1n << 62n) | 0x50000n],
    [16, 0x50000, 513, (1n << 62n) | (1n << 54n) | 0x50000n],
    [16, 0x501ff, 1, (1n << 62n) | 0x501ffn],
    [16, 0x501ff, 2, (1n << 62n) | (1n << 54n) | 0x501ffn],
    // 512 bytes: a single bit, 61, for it.
    [9, 0xa10, 500, (1n << 62n) | (1n << 61n) | 0xa10n],
    [9, 0xa00, 511, (1n << 62n) | 0xa00n],
    // 2 MiB: 13 bits from 49 on.
    [21, 0x20_0001, 2 ** 21 - 1, (1n << 62n) | (4095n << 49n) | 0x20_0001n],
    [21, 0x20_01ff, 2 ** 21 - 1, (1n << 62n) | (4096n << 49n) | 0x20_01ffn],
    [12, 2 ** 53 - 4096, 4000, (1n << 62n) | (7n << 58n) | BigInt(2 ** 53 - 4096)],
  ])("cluster_bits %d, offset %d, %d bytes", (clusterBits, offset, length, entry) => {
    const encoded = encodeCompressed(host(offset), length, clusterBits);
    expect((BigInt(encoded[0]) << 32n) | BigInt(encoded[1])).toBe(entry);
    const decoded = decodeCompressed(...halves(entry), clusterBits);
    expect(decoded.offset).toBe(offset);
    // Up to the end of the last sector.
    expect(offset + decoded.length).toBe(Math.ceil((offset + length) / 512) * 512);
  });

  test("an offset that cannot be held exactly is no offset", () => {
    expect(decodeCompressed(...halves((1n << 62n) | (1n << 53n)), 9).offset).toBe(Infinity);
    expect(decodeCompressed(...halves((1n << 62n) | ((1n << 61n) - 1n)), 9).offset).toBe(Infinity);
    expect(decodeCompressed(...halves((1n << 62n) | ((1n << 53n) - 1n)), 9).offset).toBe(
      2 ** 53 - 1,
    );
  });

  test("reserved and neighbouring bits do not leak into each other", () => {
    const all = 0xffff_ffff_ffff_ffffn;
    expect(decodeCompressed(...halves(all), 21)).toEqual({
      offset: 2 ** 49 - 1,
      length: 8192 * 512 - 511,
    });
  });
});
