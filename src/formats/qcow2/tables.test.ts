import { describe, expect, test } from "vitest";
import { host } from "../../bytes/index.ts";
import { MemoryStorage } from "../../storage/index.ts";
import { TableCache } from "./tables.ts";

const size = 512;

/** A storage of 16 tables, each filled with its number, whose reads can be held up. */
function storage(): { memory: MemoryStorage; hold(): () => void } {
  const memory = new MemoryStorage({ name: "tables" });
  for (let i = 0; i < 16; i++) memory.writeSync(i * size, new Uint8Array(size).fill(i));
  const read = memory.read.bind(memory);
  let gate = Promise.resolve();
  memory.read = async (offset, into) => {
    const count = await read(offset, into);
    await gate;
    return count;
  };
  return {
    memory,
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
  };
}

const at = (i: number) => host(i * size);

describe("TableCache", () => {
  test("keeps a table that is changed after it was evicted", async () => {
    const cache = new TableCache(storage().memory, size, 1, "table");
    const table = await cache.load(at(0));
    for (let i = 1; i < 10; i++) await cache.load(at(i));
    expect(cache.get(at(0))).toBeUndefined();
    table.view.setUint8(3, 99);
    cache.touch(table, 3, 4);
    expect(await cache.load(at(0))).toBe(table);
    expect([...cache.dirty]).toEqual([table]);
  });

  test("a read that was under way does not undo a change", async () => {
    const { memory, hold } = storage();
    const cache = new TableCache(memory, size, 1, "table");
    const table = await cache.load(at(0));
    for (let i = 1; i < 10; i++) await cache.load(at(i));
    const release = hold();
    const late = cache.load(at(0));
    cache.touch(table, 3, 4);
    release();
    expect(await late).toBe(table);
    expect(cache.get(at(0))).toBe(table);
  });

  test("a read that was under way does not replace a new table", async () => {
    const { memory, hold } = storage();
    const cache = new TableCache(memory, size, 1, "table");
    const release = hold();
    const late = cache.load(at(2));
    const table = cache.create(at(2));
    release();
    expect(await late).toBe(table);
    expect(cache.get(at(2))).toBe(table);
    expect(table.fresh).toBe(true);
  });

  test("a table that is dropped while it is read is read again", async () => {
    const { memory, hold } = storage();
    const cache = new TableCache(memory, size, 1, "table");
    const release = hold();
    const late = cache.load(at(2));
    await Promise.resolve();
    cache.drop(at(2));
    memory.writeSync(2 * size, new Uint8Array(size).fill(77));
    release();
    expect((await late).bytes[0]).toBe(77);
  });

  test("reads a table once for all who wait for it", async () => {
    const { memory } = storage();
    const cache = new TableCache(memory, size, 1, "table");
    const [one, two] = await Promise.all([cache.load(at(5)), cache.load(at(5))]);
    expect(one).toBe(two);
    expect(one.bytes[0]).toBe(5);
  });

  test("a failed read is tried again", async () => {
    const { memory } = storage();
    const cache = new TableCache(memory, size, 1, "table");
    await expect(cache.load(at(16))).rejects.toMatchObject({ code: "E_TRUNCATED" });
    memory.writeSync(16 * size, new Uint8Array(size).fill(16));
    expect((await cache.load(at(16))).bytes[0]).toBe(16);
    await expect(cache.load(host(100))).rejects.toMatchObject({ code: "E_CORRUPT" });
  });

  test("evicts only what is clean, and says when too much is not", async () => {
    const cache = new TableCache(storage().memory, size, 1, "table");
    const changed = [];
    for (let i = 0; i < 3; i++) {
      const table = await cache.load(at(i));
      cache.touch(table, 0, 8);
      changed.push(table);
    }
    expect(cache.crowded).toBe(true);
    for (let i = 3; i < 16; i++) await cache.load(at(i));
    for (const [i, table] of changed.entries()) expect(cache.get(at(i))).toBe(table);
    for (const table of changed) cache.written(table);
    expect(cache.crowded).toBe(false);
  });

  test("knows which bytes differ", async () => {
    const cache = new TableCache(storage().memory, size, 1, "table");
    const table = await cache.load(at(1));
    cache.touch(table, 16, 24);
    cache.touch(table, 8, 12);
    expect([table.dirtyFrom, table.dirtyTo]).toEqual([8, 24]);
    cache.written(table);
    cache.touch(table, 100, 108);
    expect([table.dirtyFrom, table.dirtyTo]).toEqual([100, 108]);
  });

  test("tables that are read ahead come with one request, and each can be had", async () => {
    const { memory } = storage();
    const lengths: number[] = [];
    const read = memory.read.bind(memory);
    memory.read = (offset, into) => (lengths.push(into.length), read(offset, into));
    const cache = new TableCache(memory, size, 16 * size, "table");
    expect(cache.most).toBe(4);
    cache.loadAhead(at(3), 4);
    const tables = await Promise.all([3, 4, 5, 6].map((i) => cache.load(at(i))));
    expect(tables.map(({ bytes }) => bytes[0])).toEqual([3, 4, 5, 6]);
    expect(tables.map(({ bytes }) => bytes.buffer.byteLength)).toEqual([size, size, size, size]);
    expect(tables.map(({ offset }) => cache.get(offset))).toEqual(tables);
    expect(lengths).toEqual([4 * size]);
  });

  test("reading ahead does not undo a change, and leaves what is in memory", async () => {
    const { memory, hold } = storage();
    const cache = new TableCache(memory, size, 16 * size, "table");
    const present = await cache.load(at(1));
    const release = hold();
    cache.loadAhead(at(0), 4);
    const late = cache.load(at(2));
    const made = cache.create(at(2));
    release();
    expect(await late).toBe(made);
    expect(cache.get(at(1))).toBe(present);
    expect((await cache.load(at(3))).bytes[0]).toBe(3);
  });

  test("what was forgotten while it was read ahead stays forgotten", async () => {
    const { memory, hold } = storage();
    const cache = new TableCache(memory, size, 16 * size, "table");
    const release = hold();
    cache.loadAhead(at(0), 2);
    const late = cache.load(at(0));
    cache.forget();
    release();
    await late;
    expect(cache.get(at(0))).toBeUndefined();
  });

  test("of tables that are read ahead past the end, the error is told to who loads them", async () => {
    const cache = new TableCache(storage().memory, size, 64 * size, "table");
    cache.loadAhead(at(14), 4);
    expect((await cache.load(at(15))).bytes[0]).toBe(15);
    await expect(cache.load(at(16))).rejects.toMatchObject({ code: "E_TRUNCATED" });
  });

  test("where reading many fails, each is read by itself", async () => {
    const { memory } = storage();
    const read = memory.read.bind(memory);
    memory.read = async (offset, into) => {
      if (offset <= at(2) && offset + into.length > at(2)) throw new Error("bad block");
      return read(offset, into);
    };
    const cache = new TableCache(memory, size, 64 * size, "table");
    cache.loadAhead(at(1), 3);
    expect((await cache.load(at(1))).bytes[0]).toBe(1);
    await expect(cache.load(at(2))).rejects.toThrow("bad block");
    expect((await cache.load(at(3))).bytes[0]).toBe(3);
  });
});
