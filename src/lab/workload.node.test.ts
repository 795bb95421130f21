import { describe, expect, it } from "vitest";
import { offsetsOf, rotated, workloadDiskSize, workloads } from "./workload.ts";

describe("the workloads", () => {
  it("stay inside the disk, and first writes do not meet", () => {
    const touched = new Set<number>();
    for (const workload of workloads) {
      const offsets = offsetsOf(workload);
      expect(new Set(offsets).size).toBe(workload.count);
      for (const offset of offsets) {
        expect(offset % workload.blockSize).toBe(0);
        expect(offset + workload.blockSize).toBeLessThanOrEqual(workloadDiskSize);
        for (let at = offset; at < offset + workload.blockSize; at += 4096) {
          expect(touched.has(at)).toBe(workload.isRewrite);
          touched.add(at);
        }
      }
    }
  });

  it("come in another order each round", () => {
    const items = ["a", "b", "c", "d", "e", "f", "g"];
    const firsts = Array.from({ length: 14 }, (_, round) => rotated(items, round)[0]);
    expect(new Set(firsts).size).toBe(7);
    for (let round = 0; round < 14; round++) {
      expect(rotated(items, round).toSorted()).toEqual(items);
    }
  });
});
