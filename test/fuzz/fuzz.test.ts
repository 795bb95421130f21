/** A bounded run of the fuzzer; `npm run fuzz` is the long one. */
import { expect, inject, it } from "vitest";
import { describePeer } from "../peers.ts";
import { makeCorpus } from "./corpus.ts";
import { fuzz, replay } from "./fuzz.ts";
import { mutated } from "./mutations.ts";
import { summary } from "./summary.ts";
import { placesOf } from "./tables.ts";

const seconds = 25;

describePeer("qemu-img@7.2", "fuzzing", () => {
  const corpus = makeCorpus();

  it("knows where every table of the corpus is", async () => {
    const bases = await corpus;
    const tables = new Set<string>();
    for (const { bytes, format } of bases) {
      for (const { table, at, width } of placesOf(bytes, format)) {
        tables.add(table);
        expect(at + width).toBeLessThanOrEqual(Math.ceil(bytes.length / 65_536) * 65_536);
      }
    }
    const structures = ["header", "L1", "L2", "refcount table", "refcount block", "snapshot"];
    const more = ["snapshot L1", "snapshot L2", "bitmaps", "bitmap", "bitmap table"];
    const luks = ["LUKS header", "LUKS key slot", "encryption", "data file extension"];
    expect([...tables]).toEqual(expect.arrayContaining([...structures, ...more, ...luks]));
  });

  it("finds nothing in what it starts from", async () => {
    const bases = await corpus;
    const cases = bases.map(({ name }) => ({ base: name, mutations: [] }));
    const result = await replay(bases, cases);
    expect(result.executions).toBe(bases.length);
    expect([...result.findings.values()]).toEqual([]);
    expect(result.compared.get("contents")).toBe(bases.length);
  });

  it("notices a process that ends", async () => {
    const bases = await corpus;
    const [base] = bases;
    const broken = { ...base!, others: undefined as never };
    const result = await fuzz({ bases: [broken], seconds: 2, seed: 1, jobs: 1, peerEvery: 0 });
    expect([...result.findings.values()][0]?.property).toBe("the process lives");
  });

  it(`finds nothing in ${seconds} seconds`, async () => {
    const bases = await corpus;
    expect(mutated(bases[0]!.bytes, [])).toEqual(bases[0]!.bytes);
    const seed = inject("seed") ?? Math.floor(Math.random() * 1e6);
    const time = seconds * inject("effort");
    const result = await fuzz({ bases, seconds: time, seed, jobs: 2, peerEvery: 5 });
    process.stdout.write(`${summary(result, seed).split("\n").slice(0, 3).join("\n")}\n`);
    expect([...result.findings.values()]).toEqual([]);
    expect(result.executions).toBeGreaterThan(20);
  });
});
