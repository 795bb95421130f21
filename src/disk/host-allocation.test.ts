import { describe, expect, it } from "vitest";
import { MemoryStorage, type HostExtent, type Storage } from "../storage/index.ts";
import { HostAllocation, HostState } from "./host-allocation.ts";

const { hole, reserved, written, unknown } = HostState;
const KiB = 1024;

function pieces(allocation: HostAllocation, offset: number, length: number): number[][] {
  const found: number[][] = [];
  allocation.each(offset, length, (state, at, size) => found.push([state, at, size]));
  return found;
}

/** A storage of 1 MiB whose host says what is given. */
function storageWith(extra: Partial<Storage>): Storage {
  const memory = new MemoryStorage({ size: 1024 * KiB });
  return {
    name: "x",
    size: memory.size,
    read: (offset, into) => memory.read(offset, into),
    close: () => memory.close(),
    ...extra,
  };
}

const extent = (offset: number, length: number, kind: HostExtent["kind"]): HostExtent => ({
  offset: offset * KiB,
  length: length * KiB,
  kind,
  shared: false,
});

describe("what the host has allocated", () => {
  it("cuts a range where the state changes, and sees holes past the end", () => {
    const allocation = HostAllocation.from([
      [written, 10],
      [written, 20],
      [hole, 30],
      [reserved, 50],
    ]);
    expect(pieces(allocation, 5, 60)).toEqual([
      [written, 5, 15],
      [hole, 20, 10],
      [reserved, 30, 20],
      [hole, 50, 15],
    ]);
    expect(pieces(allocation, 20, 10)).toEqual([[hole, 20, 10]]);
    expect(pieces(allocation, 60, 1)).toEqual([[hole, 60, 1]]);
    expect(pieces(allocation, 20, 0)).toEqual([]);
  });

  it("is unknown where the host tells nothing", async () => {
    const allocation = await HostAllocation.read(storageWith({}));
    expect(allocation.isKnown).toBe(false);
    expect(pieces(allocation, 7, 9)).toEqual([[unknown, 7, 9]]);
  });

  it("has data written out before it believes in reserved space", async () => {
    const asked: boolean[] = [];
    const hostExtents = (_start = 0, end = 0, { settled = false } = {}): HostExtent[] => {
      if (end === 1) return [];
      asked.push(settled);
      return settled
        ? [extent(0, 512, "written"), extent(512, 512, "unwritten")]
        : [extent(0, 1024, "unwritten")];
    };
    const allocation = await HostAllocation.read(storageWith({ hostExtents }));
    expect(asked).toEqual([false, true]);
    expect(pieces(allocation, 0, 1024 * KiB)).toEqual([
      [written, 0, 512 * KiB],
      [reserved, 512 * KiB, 512 * KiB],
    ]);
  });

  it.each([
    ["holes when nothing more is allocated than data", 256, hole],
    ["reserved when as much is allocated as the file is long", 1024, reserved],
    ["anything in between", 640, unknown],
  ])("takes holes without a list of extents for %s", async (_title, allocated, expected) => {
    const allocation = await HostAllocation.read(
      storageWith({
        extent: (offset) =>
          offset < 256 * KiB ? { end: 256 * KiB, data: true } : { end: 1024 * KiB, data: false },
        allocatedBytes: () => Promise.resolve(allocated * KiB),
      }),
    );
    expect(allocation.judgeHoles(768 * KiB)).toBe(expected !== hole);
    expect(pieces(allocation, 0, 1024 * KiB)).toEqual([
      [written, 0, 256 * KiB],
      [expected, 256 * KiB, 768 * KiB],
    ]);
  });
});
