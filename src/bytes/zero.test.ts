import { describe, expect, test } from "vitest";
import { isZero } from "./zero.ts";

/** The plain way. */
function isZeroByByte(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}

describe("isZero", () => {
  test("is true for zeros at every alignment and length, whatever lies around them", () => {
    for (let start = 0; start < 17; start++) {
      for (let length = 0; length < 70; length++) {
        const bytes = new Uint8Array(100).fill(0xff);
        const part = bytes.subarray(start, start + length).fill(0);
        expect(isZeroByByte(part)).toBe(true);
        expect(isZero(part), `${length} bytes at ${start}`).toBe(true);
      }
    }
  });

  test("finds a single byte wherever it is", () => {
    for (let start = 0; start < 9; start++) {
      for (let length = 1; length < 40; length++) {
        const part = new Uint8Array(100).subarray(start, start + length);
        for (let at = 0; at < length; at++) {
          // The highest bit turns a word negative, the lowest is the smallest that there is.
          for (const value of [1, 0x80]) {
            part[at] = value;
            expect(isZero(part), `byte ${at} of ${length} at ${start}`).toBe(false);
          }
          part[at] = 0;
        }
        expect(isZero(part)).toBe(true);
      }
    }
  });

  test("looks at a part only", () => {
    for (let start = 0; start < 40; start++) {
      for (let end = start; end < 80; end++) {
        const bytes = new Uint8Array(90).fill(0xff).subarray(3);
        bytes.fill(0, start, end);
        expect(isZero(bytes, start, end), `${start} to ${end}`).toBe(true);
        expect(isZero(bytes, start, end + 1), `${start} to ${end + 1}`).toBe(false);
      }
    }
  });

  test("agrees with the plain way on a cluster with one byte anywhere near its edges", () => {
    const cluster = new Uint8Array(65536 + 8);
    for (const start of [0, 1, 2, 3, 4, 7]) {
      const part = cluster.subarray(start, start + 65536);
      for (const at of [0, 1, 2, 3, 4, 5, 32767, 32768, 32769, 65531, 65532, 65534, 65535]) {
        part[at] = 7;
        expect(isZero(part)).toBe(isZeroByByte(part));
        part[at] = 0;
      }
      expect(isZero(part)).toBe(true);
    }
  });
});
