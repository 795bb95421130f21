import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { alignDown, alignUp, divideUp, guest, host } from "./offsets.ts";

const units = Array.from({ length: 13 }, (_, i) => 512 << i);

describe("rounding", () => {
  test.each([
    [0, 512, 0, 0],
    [1, 512, 0, 512],
    [511, 512, 0, 512],
    [512, 512, 512, 512],
    [513, 512, 512, 1024],
    [1000, 1, 1000, 1000],
    [10, 3, 9, 12],
    [2 ** 53 - 1, 512, 2 ** 53 - 512, 2 ** 53],
    [2 ** 62 - 512, 2 ** 21, 2 ** 62 - 2 ** 21, 2 ** 62],
  ])("%d by %d is %d or %d", (value, unit, down, up) => {
    expect(alignDown(value, unit)).toBe(down);
    expect(alignUp(value, unit)).toBe(up);
    expect(divideUp(value, unit)).toBe(up / unit);
  });

  test("is exact up to 2^53 - 1, and beyond for multiples of 512 up to 2^62", () => {
    const small = fc.maxSafeNat().map(BigInt);
    const large = fc.bigInt({ min: 0n, max: 2n ** 53n }).map((sectors) => sectors * 512n);
    fc.assert(
      fc.property(fc.oneof(small, large), fc.constantFrom(...units), (value, unit) => {
        const exact = BigInt(unit);
        const down = (value / exact) * exact;
        const up = ((value + exact - 1n) / exact) * exact;
        expect(BigInt(alignDown(Number(value), unit))).toBe(down);
        expect(BigInt(alignUp(Number(value), unit))).toBe(up);
        expect(BigInt(divideUp(Number(value), unit))).toBe(up / exact);
      }),
    );
  });

  test("marking changes nothing", () => {
    expect([guest(2 ** 60), host(2 ** 53 - 1)]).toEqual([2 ** 60, 2 ** 53 - 1]);
  });
});
