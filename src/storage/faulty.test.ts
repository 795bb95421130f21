import { describe, expect, test } from "vitest";
import { PlatterError } from "../errors.ts";
import { FaultyStorage } from "./faulty.ts";
import { MemoryStorage } from "./memory.ts";

const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(1);

describe("FaultyStorage", () => {
  test("fails the call that it is told to, and only that", async () => {
    const memory = new MemoryStorage();
    const error = new PlatterError("E_PERMISSION", "no");
    const storage = new FaultyStorage(memory, { faults: [{ on: "write", nth: 2, error }] });
    await storage.write!(0, bytes(1));
    await expect(storage.write!(1, bytes(1))).rejects.toBe(error);
    expect(memory.size).toBe(1);
    storage.writeSync!(1, bytes(1));
    expect(memory.size).toBe(2);
    expect(storage.calls).toMatchObject({ write: 3, read: 0 });
  });

  test("synchronous calls count and fail as well", () => {
    const storage = new FaultyStorage(new MemoryStorage({ size: 10 }), {
      faults: [{ on: "write" }, { on: "read", nth: 2, andAfter: true }],
    });
    expect(() => storage.writeSync!(0, bytes(1))).toThrow(/write number 1/);
    expect(storage.readSync!(0, bytes(1))).toBe(1);
    expect(() => storage.readSync!(0, bytes(1))).toThrow(PlatterError);
    expect(() => storage.readSync!(0, bytes(1))).toThrow(/read number 3/);
  });

  test.each(["read", "write", "flush", "truncate", "zero", "allocate"] as const)(
    "%s can fail, with E_IO by default",
    async (on) => {
      const storage = new FaultyStorage(new MemoryStorage({ size: 10 }), { faults: [{ on }] });
      const call = (): Promise<unknown> =>
        ({
          read: () => storage.read(0, bytes(1)),
          write: () => storage.write!(0, bytes(1)),
          flush: () => storage.flush!(),
          truncate: () => storage.truncate!(5),
          zero: () => storage.zero!(0, 5, { unmap: true }),
          allocate: () => storage.allocate!(0, 5),
        })[on]();
      await expect(call()).rejects.toMatchObject({ code: "E_IO" });
      await call();
    },
  );

  test("a disk that fills up", async () => {
    const memory = MemoryStorage.from(bytes(4096));
    const storage = new FaultyStorage(memory, { freeSpace: 8192 });
    const full = { code: "E_NO_SPACE" };
    // MemoryStorage reports whole pages but not beyond its end: one block is in use.
    await storage.write!(0, bytes(4096));
    await storage.write!(4096, bytes(5000));
    await storage.write!(10_000, bytes(2000));
    await expect(storage.write!(12_000, bytes(1000))).rejects.toMatchObject(full);
    await expect(storage.allocate!(12_288, 1)).rejects.toMatchObject(full);
    await expect(storage.zero!(12_288, 1, { unmap: false })).rejects.toMatchObject(full);
    expect(() => storage.writeSync!(1e12, bytes(1))).toThrow(expect.objectContaining(full));
    expect(memory.size).toBe(12_000);
    // What is there can be written over, and a hole needs no space.
    await storage.write!(0, bytes(12_000));
    await storage.truncate!(1e12);
    await storage.zero!(1e11, 1e6, { unmap: true });
  });

  test("space that is given back can be used again", async () => {
    const storage = new FaultyStorage(new MemoryStorage({ size: 1e9 }), { freeSpace: 8192 });
    await storage.write!(0, bytes(8192));
    await expect(storage.write!(8192, bytes(1))).rejects.toMatchObject({ code: "E_NO_SPACE" });
    // A block that is zeroed only in part stays.
    await storage.zero!(1, 8190, { unmap: true });
    await expect(storage.write!(8192, bytes(1))).rejects.toMatchObject({ code: "E_NO_SPACE" });
    await storage.zero!(0, 4096, { unmap: true });
    await storage.write!(8192, bytes(1));
    await expect(storage.write!(0, bytes(1))).rejects.toMatchObject({ code: "E_NO_SPACE" });
    await storage.truncate!(8192);
    await storage.write!(0, bytes(1));
  });
});
