import { describe, expect, it } from "vitest";
import { detectPreallocation, type DetectedPreallocation } from "./detect-preallocation.ts";
import type { PlaceTotals } from "./placement.ts";

const nothing: PlaceTotals = {
  none: 0,
  zero: 0,
  hole: 0,
  reserved: 0,
  written: 0,
  compressed: 0,
  unknown: 0,
};
const MiB = 2 ** 20;

describe("the preallocation mode", () => {
  const cases: ReadonlyArray<readonly [DetectedPreallocation, Partial<PlaceTotals>]> = [
    ["off", { none: 100 }],
    ["off", { none: 90, written: 10 }],
    ["off", { none: 1, compressed: 99 }],
    ["off", { none: 50, zero: 50 }],
    ["metadata", { hole: 100 }],
    ["metadata", { hole: 1, written: 99 }],
    ["falloc", { reserved: 100 }],
    ["falloc", { reserved: 10, written: 90 }],
    ["full", { written: 100 }],
    ["full", { compressed: 100 }],
    ["mixed", { hole: 50, reserved: 50 }],
    ["mixed", { none: 2, hole: 50, written: 48 }],
    ["unknown", { unknown: 100 }],
    ["unknown", { unknown: 50, written: 50 }],
    // Where some of the disk has no place, the places that there are hold data.
    ["off", { none: 50, unknown: 50 }],
    ["off", {}],
  ];
  it.each(cases)("is %s for %j", (mode, shares) => {
    const places = Object.fromEntries(
      Object.entries({ ...nothing, ...shares }).map(([name, share]) => [name, share * MiB]),
    ) as Record<keyof PlaceTotals, number>;
    expect(detectPreallocation({ places, besideWritten: 0 })).toBe(mode);
  });

  it("does not see the rest of a raw file's last sector", () => {
    expect(
      detectPreallocation({ places: { ...nothing, written: 1000, zero: 24 }, besideWritten: 0 }),
    ).toBe("full");
  });

  it("does not mind a little of another kind", () => {
    expect(
      detectPreallocation({
        places: { ...nothing, hole: 100 * MiB, none: MiB / 2 },
        besideWritten: 0,
      }),
    ).toBe("metadata");
  });

  it("does not take for reserved what was made zeros beside a write", () => {
    const places = { ...nothing, none: 90 * MiB, reserved: 15 * MiB, written: MiB };
    expect(detectPreallocation({ places, besideWritten: 15 * MiB })).toBe("off");
    expect(detectPreallocation({ places, besideWritten: 5 * MiB })).toBe("mixed");
    const grown = { ...nothing, reserved: 100 * MiB, written: MiB };
    expect(detectPreallocation({ places: grown, besideWritten: 15 * MiB })).toBe("falloc");
  });
});
