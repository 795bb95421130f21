import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MemoryStorage, memoryPageSize as page } from "./memory.ts";

const bytes = (length: number, fill = 1): Uint8Array => new Uint8Array(length).fill(fill);

describe("MemoryStorage", () => {
  test("starts empty, or with a size, or with bytes", async () => {
    expect(new MemoryStorage().size).toBe(0);
    const sized = new MemoryStorage({ name: "disk", size: 100 });
    expect([sized.name, sized.size, await sized.allocatedBytes()]).toEqual(["disk", 100, 0]);
    expect(sized.toBytes()).toEqual(new Uint8Array(100));
    const source = Uint8Array.of(1, 2, 3);
    const filled = MemoryStorage.from(source, "three");
    source[0] = 9;
    expect(filled.toBytes()).toEqual(Uint8Array.of(1, 2, 3));
    expect(filled.name).toBe("three");
  });

  test("a read at the end is short, and leaves the rest of the buffer alone", async () => {
    const storage = MemoryStorage.from(Uint8Array.of(1, 2, 3));
    const into = bytes(4, 7);
    expect(await storage.read(1, into)).toBe(2);
    expect(into).toEqual(Uint8Array.of(2, 3, 7, 7));
    expect(await storage.read(3, into)).toBe(0);
    expect(await storage.read(1e15, into)).toBe(0);
  });

  test("keeps a copy of what is written, not the buffer", async () => {
    const storage = new MemoryStorage();
    const from = bytes(10);
    await storage.write(0, from);
    from.fill(2);
    expect(storage.toBytes()).toEqual(bytes(10));
  });

  test("writes across pages, and past the end", () => {
    const storage = new MemoryStorage();
    const data = Uint8Array.from({ length: 3 * page }, (_, i) => i % 251);
    storage.writeSync(page - 5, data);
    expect(storage.size).toBe(4 * page - 5);
    expect(storage.slice(0, page - 5)).toEqual(new Uint8Array(page - 5));
    expect(storage.slice(page - 5)).toEqual(data);
  });

  test("a write of nothing does not grow it", async () => {
    const storage = new MemoryStorage();
    storage.writeSync(100, new Uint8Array(0));
    await storage.zero(100, 0, { unmap: false });
    await storage.allocate(100, 0);
    expect(storage.size).toBe(0);
  });

  test("a terabyte costs what is written to it", async () => {
    const terabyte = 2 ** 40;
    const storage = new MemoryStorage({ size: terabyte });
    await storage.write(terabyte / 2, bytes(10));
    expect(await storage.allocatedBytes()).toBe(page);
    expect(storage.extent(0)).toEqual({ end: terabyte / 2, data: false });
    expect(storage.extent(terabyte / 2 + 9)).toEqual({ end: terabyte / 2 + page, data: true });
    expect(storage.extent(terabyte / 2 + page)).toEqual({ end: terabyte, data: false });
    expect(storage.extent(terabyte)).toMatchObject({ data: false });
    await storage.allocate(0, terabyte);
    expect(await storage.allocatedBytes()).toBe(terabyte);
    expect(storage.extent(0)).toEqual({ end: terabyte / 2, data: false });
  });

  test("reaches to 2^53 - 1 and no further", async () => {
    const storage = new MemoryStorage();
    const end = Number.MAX_SAFE_INTEGER;
    storage.writeSync(end - 3, Uint8Array.of(1, 2, 3));
    expect(storage.size).toBe(end);
    expect(storage.slice(end - 3)).toEqual(Uint8Array.of(1, 2, 3));
    expect(storage.slice(end - 4)).toEqual(Uint8Array.of(0, 1, 2, 3));
    expect(storage.extent(end - 1)).toEqual({ end, data: true });
    expect(() => storage.writeSync(end - 2, Uint8Array.of(1, 2, 3))).toThrow(
      expect.objectContaining({ code: "E_FILE_TOO_LARGE" }),
    );
    await expect(storage.truncate(2 ** 53)).rejects.toMatchObject({ code: "E_FILE_TOO_LARGE" });
    expect(() => storage.toBytes()).toThrow(expect.objectContaining({ code: "E_LIMIT" }));
  });

  test.each([-1, 0.5, NaN, -Infinity])("refuses the offset %d", async (offset) => {
    const storage = new MemoryStorage({ size: 10 });
    const code = { code: "E_INVALID_ARGUMENT" };
    await expect(storage.read(offset, bytes(1))).rejects.toMatchObject(code);
    await expect(storage.write(offset, bytes(1))).rejects.toMatchObject(code);
    await expect(storage.truncate(offset)).rejects.toMatchObject(code);
    await expect(storage.zero(0, offset, { unmap: true })).rejects.toMatchObject(code);
    expect(storage.size).toBe(10);
  });

  test("what is cut off does not come back", async () => {
    const storage = MemoryStorage.from(bytes(3 * page));
    await storage.truncate(page + 10);
    expect(await storage.allocatedBytes()).toBe(2 * page);
    await storage.truncate(3 * page);
    expect(storage.slice(0, page + 10)).toEqual(bytes(page + 10));
    expect(storage.slice(page + 10)).toEqual(new Uint8Array(2 * page - 10));
    await storage.truncate(0);
    expect([storage.size, await storage.allocatedBytes()]).toEqual([0, 0]);
  });

  test("a last page that the end cuts counts as a whole one", async () => {
    const cut = MemoryStorage.from(bytes(page + 10));
    await cut.truncate(5);
    expect(await cut.allocatedBytes()).toBe(page);
    const zeroed = MemoryStorage.from(bytes(page + 10));
    await zeroed.zero(page, 10, { unmap: true });
    expect(await zeroed.allocatedBytes()).toBe(page);
    expect(zeroed.extent(page)).toEqual({ end: page + 10, data: false });
    const reserved = new MemoryStorage();
    await reserved.allocate(0, 3 * page + 1);
    await reserved.truncate(page);
    expect(await reserved.allocatedBytes()).toBe(page);
  });

  test("zeroing gives whole pages back, or keeps them", async () => {
    const storage = MemoryStorage.from(bytes(4 * page));
    expect(await storage.zero(page - 1, page + 2, { unmap: true })).toBe(true);
    expect(await storage.allocatedBytes()).toBe(3 * page);
    expect(storage.extent(page)).toEqual({ end: 2 * page, data: false });
    expect(storage.slice(page - 2, page)).toEqual(Uint8Array.of(1, 0));
    expect(storage.slice(2 * page, 2 * page + 2)).toEqual(Uint8Array.of(0, 1));
    await storage.zero(2 * page, 2 * page, { unmap: false });
    expect(await storage.allocatedBytes()).toBe(3 * page);
    expect(storage.slice(2 * page)).toEqual(new Uint8Array(2 * page));
    await storage.zero(4 * page, 10, { unmap: true });
    expect(storage.size).toBe(4 * page + 10);
  });

  test("a clone goes its own way", async () => {
    const storage = MemoryStorage.from(bytes(10));
    const copy = storage.clone();
    await copy.write(0, bytes(10, 2));
    expect(storage.toBytes()).toEqual(bytes(10));
    expect(copy.toBytes()).toEqual(bytes(10, 2));
    expect(copy.identity).not.toBe(storage.identity);
  });

  test("is closed once it is closed", async () => {
    const storage = MemoryStorage.from(bytes(10));
    await storage.close();
    const code = { code: "E_CLOSED" };
    await expect(storage.read(0, bytes(1))).rejects.toMatchObject(code);
    await expect(storage.write(0, bytes(1))).rejects.toMatchObject(code);
    await expect(storage.flush()).rejects.toMatchObject(code);
    expect(() => storage.extent(0)).toThrow(expect.objectContaining(code));
  });

  test("behaves as an array of bytes", async () => {
    // Offsets near the edges of the first few pages, where mistakes are.
    const offset = fc
      .tuple(fc.nat(4), fc.integer({ min: -3, max: 3 }))
      .map(([n, d]) => Math.max(0, n * page + d));
    const operation = fc.record({
      kind: fc.constantFrom("write", "truncate", "zero", "unmap", "allocate"),
      a: offset,
      b: offset,
      fill: fc.integer({ min: 1, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 12 }), async (operations) => {
        const storage = new MemoryStorage();
        const model = new Uint8Array(5 * page);
        let size = 0;
        for (const { kind, a, b, fill } of operations) {
          const [start, end] = [Math.min(a, b), Math.max(a, b)];
          const length = end - start;
          if (kind === "truncate") {
            await storage.truncate(end);
            model.fill(0, end);
            size = end;
            continue;
          }
          if (kind === "write") await storage.write(start, bytes(length, fill));
          else if (kind === "allocate") await storage.allocate(start, length);
          else await storage.zero(start, length, { unmap: kind === "unmap" });
          if (kind !== "allocate") model.fill(kind === "write" ? fill : 0, start, end);
          if (length > 0) size = Math.max(size, end);
        }
        expect(storage.size).toBe(size);
        const found = storage.toBytes();
        expect(found.findIndex((byte, i) => byte !== model[i])).toBe(-1);
        for (let at = 0; at < size;) {
          const { end, data } = storage.extent(at);
          expect(end).toBeGreaterThan(at);
          if (!data) expect(found.subarray(at, end).every((byte) => byte === 0)).toBe(true);
          at = end;
        }
      }),
      { numRuns: 60 },
    );
  });
});
