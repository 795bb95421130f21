import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { guest } from "../../bytes/index.ts";
import { portableCodecs } from "../../codec/index.ts";
import { Kind, Runs } from "../../disk/index.ts";
import { MemoryStorage } from "../../storage/index.ts";
import { openDisk } from "../open.ts";
import { qcow2 } from "./index.ts";

const clusterSize = 512;
const perTable = clusterSize / 8;
/** Three tables, the last one partly used, and a last cluster that is not whole. */
const clusters = 2 * perTable + 11;
const size = clusters * clusterSize - 100;

/** Several entries that continue each other or repeat. */
const stretches = fc.array(
  fc.record({
    count: fc.nat({ max: 40 }),
    // Also about 32 bits, where the upper half of the offset changes.
    at: fc.oneof(fc.nat({ max: 200 }), fc.integer({ min: 2 ** 23 - 20, max: 2 ** 23 })),
    step: fc.constantFrom(1, 1, 1, 0, 2),
    form: fc.constantFrom("data", "data", "shared", "zero", "zero at", "none", "compressed"),
  }),
  { maxLength: 30 },
);

type Stretch = typeof stretches extends fc.Arbitrary<infer T> ? T : never;

function entriesOf(given: Stretch): bigint[] {
  const copied = 1n << 63n;
  const entries = given.flatMap(({ count, at, step, form }) =>
    Array.from({ length: count }, (_, i) => {
      const place = BigInt(at + i * step) * BigInt(clusterSize);
      if (form === "data") return place === 0n ? 0n : place | copied;
      if (form === "shared") return place;
      if (form === "zero") return 1n;
      if (form === "zero at") return place === 0n ? 1n : place | copied | 1n;
      return form === "none" ? 0n : place | (1n << 62n);
    }),
  );
  return [...entries, ...Array.from({ length: clusters }, () => 0n)].slice(0, clusters);
}

test("maps a range to what its clusters are mapped to one by one", async () => {
  await fc.assert(
    fc.asyncProperty(
      stretches,
      fc.nat({ max: size }),
      fc.nat({ max: size }),
      async (given, a, b) => {
        const memory = new MemoryStorage({ name: "image" });
        const values = { cluster_size: clusterSize, preallocation: "metadata" };
        await (await qcow2.create!(memory, { size, values })).finish({ durable: false });
        await using disk = await openDisk(memory, { codecs: portableCodecs });
        const mapping = disk.image;
        const bytes = new DataView(memory.toBytes().buffer);
        const l1 = Number(bytes.getBigUint64(40));
        const entries = entriesOf(given);
        entries.forEach((entry, i) => {
          const table = bytes.getBigUint64(l1 + Math.floor(i / perTable) * 8) & ~(1n << 63n);
          const value = new Uint8Array(8);
          new DataView(value.buffer).setBigUint64(0, entry);
          memory.writeSync(Number(table) + (i % perTable) * 8, value);
        });
        for (let i = 0; i < clusters; i += perTable) await mapping.load(guest(i * clusterSize));

        const [start, end] = a < b ? [a, b] : [b, a];
        const whole = new Runs();
        expect(mapping.map(guest(start), guest(end), whole)).toBe(end);
        const single = new Runs();
        for (let at = start; at < end;) {
          const next = Math.min(end, at + clusterSize - (at % clusterSize));
          expect(mapping.map(guest(at), guest(next), single)).toBe(next);
          at = next;
        }
        expect(shown(whole)).toEqual(shown(single));
      },
    ),
    { numRuns: 300 * inject("effort") },
  );
});

const shown = (runs: Runs): unknown[] =>
  Array.from({ length: runs.count }, (_, i) => [
    Object.keys(Kind)[runs.kind[i]!],
    runs.guest[i],
    runs.length[i],
    runs.host[i],
    runs.hostLength[i],
    runs.inPlace[i],
  ]);
