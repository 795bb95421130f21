import { describe, expect, test } from "vitest";
import { ClusterCache } from "./cluster-cache.ts";
import { Leases } from "./leases.ts";
import { RangeLock } from "./range-lock.ts";
import { Serial } from "./serial.ts";

async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

describe("RangeLock", () => {
  test("overlapping claims come in the order in which they were made", async () => {
    const lock = new RangeLock();
    const log: string[] = [];
    const claim = async (name: string, start: number, end: number) => {
      const { release: free } = await lock.claim(start, end);
      log.push(name);
      return free;
    };
    const first = await claim("first", 0, 10);
    const second = claim("second", 9, 20);
    const third = claim("third", 15, 25);
    const touching = claim("touching", 10, 15);
    const apart = await claim("apart", 30, 40);
    await turns();
    expect(log).toEqual(["first", "apart"]);
    first();
    (await second)();
    await Promise.all([third, touching]);
    expect(log.slice(0, 3)).toEqual(["first", "apart", "second"]);
    apart();
  });

  test("what a claim gives up early is free for the next", async () => {
    const lock = new RangeLock();
    const first = await lock.claim(0, 10);
    const second = lock.claim(5, 15);
    const third = lock.claim(12, 20);
    let granted = 0;
    void second.then(() => granted++);
    void third.then(() => granted++);
    first.narrow(7);
    await turns();
    expect(granted).toBe(0);
    first.narrow(5);
    await turns();
    expect(granted).toBe(1);
    (await second).narrow(12);
    await turns();
    expect(granted).toBe(2);
    first.release();
  });

  test("a claim of everything waits for all, and all later ones for it", async () => {
    const lock = new RangeLock();
    const { release: one } = await lock.claim(0, 5);
    const all = lock.claim(0, Infinity);
    const later = lock.claim(100, 101);
    let granted = 0;
    void all.then(() => granted++);
    void later.then(() => granted++);
    await turns();
    expect(granted).toBe(0);
    one();
    await turns();
    expect(granted).toBe(1);
    (await all).release();
    await later;
    expect(granted).toBe(2);
  });
});

describe("Serial", () => {
  test("runs one after the other, failures included", async () => {
    const serial = new Serial();
    const log: number[] = [];
    const slow = serial.run(async () => {
      await turns();
      log.push(1);
    });
    const failing = serial.run(async () => {
      log.push(2);
      throw new Error("no");
    });
    const last = serial.run(async () => log.push(3));
    await expect(failing).rejects.toThrow("no");
    await Promise.all([slow, last]);
    expect(log).toEqual([1, 2, 3]);
  });
});

describe("Leases", () => {
  test("a change is done with when those who may have seen what was before are", () => {
    const leases = new Leases();
    const before = leases.take();
    const firstDone = leases.advance();
    const between = leases.take();
    const secondDone = leases.advance();
    const after = leases.take();
    expect([firstDone(), secondDone()]).toEqual([false, false]);
    before();
    expect([firstDone(), secondDone()]).toEqual([true, false]);
    between();
    expect([firstDone(), secondDone()]).toEqual([true, true]);
    after();
  });

  test("an old reader holds up all later changes, a new one none", () => {
    const leases = new Leases();
    const old = leases.take();
    const changes = [1, 2, 3].map(() => leases.advance());
    leases.take();
    expect(changes.map((done) => done())).toEqual([false, false, false]);
    old();
    expect(changes.map((done) => done())).toEqual([true, true, true]);
  });

  test("nobody reads", () => {
    expect(new Leases().advance()()).toBe(true);
  });
});

describe("ClusterCache", () => {
  test("keeps 8 MiB, forgets the oldest, and everything when told", () => {
    const cache = new ClusterCache(2 * 1024 * 1024);
    for (let i = 0; i < 5; i++) cache.set(i, Uint8Array.of(i));
    expect([0, 1, 2, 3, 4].map((i) => cache.get(i)?.[0])).toEqual([undefined, 1, 2, 3, 4]);
    cache.clear();
    expect(cache.get(4)).toBeUndefined();
  });
});
