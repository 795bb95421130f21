import fc from "fast-check";
import { expect, test } from "vitest";
import { ClusterMarks } from "./cluster-marks.ts";

test("finds what was marked, and nothing else", () => {
  const cluster = fc.oneof(
    fc.nat({ max: 300 }),
    // What lies at multiples of powers of two, and beyond 32 bits.
    fc
      .tuple(fc.nat({ max: 40 }), fc.nat({ max: 60 }))
      .map(([bits, n]) => 2 ** Math.min(bits, 38) * n),
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(cluster, fc.integer({ min: 0, max: 0x1ff })), { maxLength: 400 }),
      fc.array(fc.tuple(cluster, fc.nat({ max: 1000 })), { maxLength: 20 }),
      (added, asked) => {
        const marks = new ClusterMarks();
        const model = new Map<number, number>();
        for (const [at, bits] of added) {
          marks.add(at, bits);
          model.set(at, (model.get(at) ?? 0) | bits);
        }
        for (const [first, length] of [...asked, ...added.map(([at]) => [at, 1] as const)]) {
          let expected = 0;
          for (const [at, bits] of model) {
            if (at >= first && at < first + length) expected |= bits;
          }
          expect(marks.find(first, first + length)).toBe(expected);
        }
      },
    ),
  );
});
