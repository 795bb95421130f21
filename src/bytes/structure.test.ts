import { expect, test } from "vitest";
import { Structure } from "./structure.ts";

const pair = new Structure("pair", {
  small: { at: 0, type: "u8", means: "a byte" },
  middle: { at: 2, type: "u16", means: "two bytes" },
  wide: { at: 4, type: "u32", means: "four bytes" },
  widest: { at: 8, type: "u64", means: "eight bytes" },
});

test("a structure knows its size from its last field", () => {
  expect(pair.size).toBe(16);
});

test("fields are big-endian and keep all 64 bits", () => {
  const bytes = new Uint8Array(18);
  const values = { small: 1, middle: 0x0203, wide: 0x04050607, widest: 0xf8090a0b0c0d0e0fn };
  pair.write(values, bytes, 1);
  expect([...bytes]).toEqual([0, 1, 0, 2, 3, 4, 5, 6, 7, 0xf8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0]);
  expect(pair.read(bytes, 1)).toEqual(values);
});

test("fields past the end of the bytes read as zero and are not written", () => {
  const bytes = new Uint8Array(8).fill(0xff);
  expect(pair.read(bytes)).toEqual({ small: 255, middle: 65535, wide: 0xffffffff, widest: 0n });
  pair.write({ small: 0, middle: 0, wide: 0, widest: 7n }, bytes);
  expect(bytes).toEqual(new Uint8Array([0, 0xff, 0, 0, 0, 0, 0, 0]));
});
