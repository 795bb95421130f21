import { describe, expect, test } from "vitest";
import { openDisk } from "../formats/index.ts";
import { FaultyStorage, MemoryStorage } from "../storage/index.ts";
import { PlatterError } from "../errors.ts";
import { Pace } from "./pace.ts";
import { Buffers } from "../bytes/index.ts";
import { localPool, portableCodecs } from "../codec/index.ts";
import { Gatherer } from "../disk/index.ts";
import { salvaging } from "./salvage.ts";
import { fromDisk } from "./source.ts";

describe("a pace", () => {
  test("waits until the bytes have had their time", async () => {
    let time = 0;
    let waits = 0;
    // Each look at the clock finds it 10 ms later.
    const pace = new Pace(1000, undefined, () => {
      waits++;
      return (time += 10);
    });
    await pace.spend(0);
    const before = waits;
    await pace.spend(50);
    expect(time).toBeGreaterThanOrEqual(50);
    expect(waits).toBeGreaterThan(before + 1);
  });

  test("is left when the work is cancelled", async () => {
    const controller = new AbortController();
    const pace = new Pace(1, controller.signal);
    const waiting = pace.spend(1_000_000);
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: "E_ABORTED" });
  });
});

describe("salvaging", () => {
  test("zeroes the sectors that cannot be read, and says which", async () => {
    const bytes = new Uint8Array(4096).fill(7);
    // The whole request fails, then the second and third sector.
    const faults = [
      { on: "read", nth: 1 },
      { on: "read", nth: 3 },
      { on: "read", nth: 4 },
    ] as const;
    const storage = new FaultyStorage(MemoryStorage.from(bytes), { faults });
    const disk = await openDisk(storage, { format: "raw" });
    const lost: number[] = [];
    const source = salvaging(fromDisk(disk), (offset, error) => {
      expect(error).toBeInstanceOf(PlatterError);
      lost.push(offset);
    });
    const into = new Uint8Array(2048);
    const gatherer = new Gatherer(localPool(portableCodecs), new Buffers());
    await source.gather(gatherer, [{ start: 1024, end: 3072 }], 1024, into);
    expect(lost).toEqual([1536, 2048]);
    const expected = new Uint8Array(2048).fill(7).fill(0, 512, 1536);
    expect(into).toEqual(expected);
  });
});
