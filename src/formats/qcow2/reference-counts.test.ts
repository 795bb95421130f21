import fc from "fast-check";
import { expect, test } from "vitest";
import type { Geometry } from "./geometry.ts";
import { ReferenceCounts } from "./reference-counts.ts";

const countsOf = (order: number): ReferenceCounts =>
  new ReferenceCounts({
    refcountOrder: order,
    refcountBits: 2 ** order,
    maxRefcount: order === 6 ? Number.MAX_SAFE_INTEGER : 2 ** (2 ** order) - 1,
  } as Geometry);

test("clusters in a row are counted as they are one by one, in every width", () => {
  const runs = fc.array(
    fc.tuple(
      fc.oneof(fc.nat({ max: 40 }), fc.integer({ min: 4000, max: 4200 })),
      fc.nat({ max: 900 }),
    ),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(fc.nat({ max: 6 }), runs, (order, given) => {
      const [together, single] = [countsOf(order), countsOf(order)];
      for (const [first, length] of given) {
        // What did not fit is passed over, as the checker does once it has told of it.
        for (let done = 0; done < length;) {
          const counted = together.addRun(first + done, length - done);
          done += Math.max(1, counted);
        }
        for (let i = 0; i < length; i++) single.add(first + i);
      }
      expect(together.end).toBe(single.end);
      for (const [first, length] of given) {
        for (let i = Math.max(0, first - 1); i <= first + length; i += 1 + (i % 7)) {
          if (together.get(i) !== single.get(i)) expect.unreachable(`cluster ${i}`);
        }
      }
    }),
  );
});

test("a run ends at the first cluster without room", () => {
  const counts = countsOf(3);
  for (let i = 0; i < 255; i++) counts.add(5000);
  expect(counts.addRun(4990, 20)).toBe(10);
  expect(counts.addRun(5000, 3)).toBe(0);
  expect([4999, 5000, 5001].map((index) => counts.get(index))).toEqual([1, 255, 0]);
});
