import { describe, expect, test } from "vitest";
import { PlatterError } from "../errors.ts";
import { FaultyStorage } from "./faulty.ts";
import { MemoryStorage } from "./memory.ts";
import { RecordingStorage } from "./recorder.ts";
import type { WritableStorage } from "./storage.ts";

const bytes = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);

describe("RecordingStorage", () => {
  test("rebuilds the file after each step", async () => {
    const memory = MemoryStorage.from(bytes(10, 9));
    const before = memory.clone();
    const storage = new RecordingStorage(memory);
    const states = [memory.toBytes()];
    const steps: (() => unknown)[] = [
      () => storage.write(5, bytes(10, 1)),
      () => storage.flush(),
      () => storage.writeSync!(0, bytes(3, 2)),
      () => storage.zero!(2, 4, { unmap: false }),
      () => storage.truncate!(12),
      () => storage.allocate!(0, 200_000),
      () => storage.flush(),
      () => storage.zero!(0, 200_000, { unmap: true }),
    ];
    for (const step of steps) {
      await step();
      states.push(memory.toBytes());
    }
    const kinds = storage.log.map((entry) => entry.kind).join(" ");
    expect(kinds).toBe("write flush write zero truncate allocate flush zero");
    for (const [length, state] of states.entries()) {
      const rebuilt = await storage.replay(length, before);
      expect(rebuilt.toBytes()).toEqual(state);
      expect((await storage.replay(length, bytes(10, 9))).toBytes()).toEqual(state);
    }
    expect(before.toBytes()).toEqual(bytes(10, 9));
    expect(await (await storage.replay(6, before)).allocatedBytes()).toBe(4 * 65536);
  });

  test("starts from nothing unless told otherwise", async () => {
    const storage = new RecordingStorage(new MemoryStorage());
    await storage.write(2, bytes(1, 5));
    expect((await storage.replay(1)).toBytes()).toEqual(Uint8Array.of(0, 0, 5));
    expect((await storage.replay(0)).size).toBe(0);
  });

  test("keeps a copy of the bytes", async () => {
    const storage = new RecordingStorage(new MemoryStorage());
    const buffer = bytes(4, 1);
    const pending = storage.write(0, buffer);
    buffer.fill(2);
    await pending;
    buffer.fill(3);
    expect((await storage.replay(1)).toBytes()).toEqual(bytes(4, 1));
  });

  test("counts the flushes before each entry", async () => {
    const storage = new RecordingStorage(new MemoryStorage());
    await storage.write(0, bytes(1, 1));
    await storage.write(1, bytes(1, 1));
    await storage.flush();
    await storage.write(2, bytes(1, 1));
    await storage.flush();
    await storage.flush();
    await storage.write(3, bytes(1, 1));
    expect(storage.epochs()).toEqual([0, 0, 0, 1, 1, 2, 3]);
  });

  test("a write that ends during a flush comes after it", async () => {
    const memory = new MemoryStorage();
    const gates: (() => void)[] = [];
    const wait = (): Promise<void> => new Promise((resolve) => gates.push(resolve));
    const slow: WritableStorage = {
      name: "slow",
      size: 0,
      read: (offset, into) => memory.read(offset, into),
      close: () => memory.close(),
      write: () => wait(),
      flush: () => wait(),
    };
    const storage = new RecordingStorage(slow);
    const write = storage.write(0, bytes(1, 1));
    const flush = storage.flush();
    gates[0]!();
    await write;
    gates[1]!();
    await flush;
    expect(storage.log.map((entry) => entry.kind)).toEqual(["flush", "write"]);
    expect(storage.epochs()).toEqual([0, 1]);
  });

  test("leaves out what failed and what the storage declined", async () => {
    const error = new PlatterError("E_IO", "told to");
    const faulty = new FaultyStorage(new MemoryStorage(), {
      faults: [
        { on: "write", nth: 2, error },
        { on: "flush", error },
      ],
    });
    const declining: WritableStorage = Object.assign(faulty, {
      write: faulty.write!,
      flush: faulty.flush!,
      zero: async () => false,
    });
    const storage = new RecordingStorage(declining);
    await storage.write(0, bytes(1, 1));
    await expect(storage.write(1, bytes(1, 1))).rejects.toBe(error);
    await expect(storage.flush()).rejects.toBe(error);
    expect(await storage.zero!(0, 1, { unmap: true })).toBe(false);
    await storage.flush();
    expect(storage.log.map((entry) => entry.kind)).toEqual(["write", "flush"]);
  });

  test("has the capabilities of what it records, and no others", async () => {
    const memory = MemoryStorage.from(bytes(3, 1), "m");
    const full = new RecordingStorage(memory);
    for (const key of [
      "truncate",
      "readSync",
      "writeSync",
      "zero",
      "allocate",
      "extent",
    ] as const) {
      expect(typeof full[key]).toBe("function");
    }
    expect([full.name, full.size, full.identity]).toEqual(["m", 3, memory.identity]);
    expect(full.extent!(0)).toEqual({ end: 3, data: true });
    expect(await full.allocatedBytes!()).toBe(65536);
    const into = new Uint8Array(3);
    expect([await full.read(0, into), full.readSync!(1, into)]).toEqual([3, 2]);
    expect(full.log).toEqual([]);
    const least = new RecordingStorage({
      name: "least",
      size: 0,
      read: async () => 0,
      close: async () => {},
      write: async () => {},
      flush: async () => {},
    });
    expect(Object.keys(least).filter((key) => key !== "inner")).toEqual(["write", "flush"]);
    await full.close();
    await expect(memory.read(0, into)).rejects.toMatchObject({ code: "E_CLOSED" });
  });
});
