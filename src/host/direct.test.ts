import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, inject, test } from "vitest";
import { PlatterError } from "../errors.ts";
import type { Storage } from "../storage/index.ts";
import { fileProvider } from "./provider.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-direct-"));
afterAll(() => rmSync(directory, { recursive: true }));
let count = 0;

async function openDirect(bytes: Uint8Array): Promise<{ path: string; storage: Storage }> {
  const path = join(directory, `f${count++}`);
  writeFileSync(path, bytes);
  const storage = await fileProvider().open(path, { writable: true, direct: true });
  return { path, storage };
}

const hasDirect = await openDirect(new Uint8Array(1)).then(
  async ({ storage }) => {
    await storage.close();
    return true;
  },
  (error: unknown) => {
    if (error instanceof PlatterError && error.code === "E_UNSUPPORTED") return false;
    throw error;
  },
);

describe.skipIf(!hasDirect)("a file past the page cache", () => {
  const place = fc.record({ at: fc.nat(20_000), length: fc.nat(9000), value: fc.nat(255) });

  test("reads and writes any range, several at once, and keeps its length to the byte", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(15_000),
        fc.array(fc.array(place, { maxLength: 4 })),
        async (size, rounds) => {
          const { path, storage } = await openDirect(new Uint8Array(size).fill(1));
          let model = new Uint8Array(size).fill(1);
          for (const round of rounds) {
            // Ranges that overlap would end in some order: each round writes apart from each other.
            let from = 0;
            const apart = round.map(({ at, length, value }) => {
              const start = from + (at % 5000);
              from = start + length;
              return { start, length, value };
            });
            await Promise.all(
              apart.map(({ start, length, value }) =>
                storage.write!(start, new Uint8Array(length).fill(value)),
              ),
            );
            for (const { start, length, value } of apart) {
              const grown = new Uint8Array(
                length === 0 ? model.length : Math.max(model.length, start + length),
              );
              grown.set(model);
              model = grown.fill(value, start, start + length);
            }
            expect(storage.size).toBe(model.length);
            const into = new Uint8Array(model.length + 10);
            expect(await storage.read(0, into)).toBe(model.length);
            expect(Buffer.from(into.subarray(0, model.length)).equals(model)).toBe(true);
          }
          await storage.close();
          expect(readFileSync(path).equals(model)).toBe(true);
        },
      ),
      { numRuns: 25 * inject("effort") },
    );
  });

  test("moves more than fits its buffers", async () => {
    const bytes = new Uint8Array(3_000_001).map((_, i) => (i * 31) >> 5);
    const { path, storage } = await openDirect(bytes);
    const into = new Uint8Array(2_500_000);
    expect(await storage.read(777, into)).toBe(into.length);
    expect(Buffer.from(into).equals(bytes.subarray(777, 777 + into.length))).toBe(true);
    await storage.write!(100_001, into);
    await storage.close();
    bytes.set(into, 100_001);
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });
});

test("a filesystem that cannot is named", async () => {
  // What is under /proc has no blocks to read directly.
  const opening = fileProvider().open("/proc/self/status", { writable: false, direct: true });
  await expect(opening).rejects.toMatchObject({
    code: "E_UNSUPPORTED",
    details: {
      qemu: "Could not open '/proc/self/status': filesystem does not support O_DIRECT",
    },
  });
});
