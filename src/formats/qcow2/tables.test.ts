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
});
