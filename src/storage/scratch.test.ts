import { expect, it } from "vitest";
import { MemoryStorage } from "./memory.ts";
import { ScratchStorage } from "./scratch.ts";

it("shows what has been written to it, and leaves what is behind it alone", async () => {
  const inner = MemoryStorage.from(new Uint8Array(10_000).fill(7), "inner");
  const scratch = new ScratchStorage(inner);
  await scratch.write(4090, new Uint8Array(20).fill(1));
  await scratch.write(12_000, new Uint8Array(5).fill(2));
  const found = new Uint8Array(13_000);
  expect(await scratch.read(0, found)).toBe(12_005);
  const expected = new Uint8Array(13_000);
  expected.fill(7, 0, 10_000);
  expected.fill(1, 4090, 4110);
  expected.fill(2, 12_000, 12_005);
  expect(found).toEqual(expected);
  expect(inner.toBytes()).toEqual(new Uint8Array(10_000).fill(7));
  expect(scratch.writes).toEqual([
    { offset: 4090, length: 20 },
    { offset: 12_000, length: 5 },
  ]);
  expect(scratch.size).toBe(12_005);
});
