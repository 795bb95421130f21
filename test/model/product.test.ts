/**
 * The model over every pair of properties that an image can have; with LONG=1 over all combinations of
 * all of them. The sequence for each is drawn from a seed that is printed when it fails: `SEED=n` draws
 * the same again, and `FROM=n` begins with that combination.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { sequences } from "../../src/formats/model-steps.test-kit.ts";
import { describePeer } from "../peers.ts";
import { everyPair, fullProduct, type Combination } from "./dimensions.ts";
import { judge } from "./judge.ts";

let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "platter-product-"));
});

afterAll(async () => {
  await rm(directory, { recursive: true });
});

const sequencesPerPair = 4;
const hours = 4 * 3_600_000;

describePeer("qemu-img@7.2", "every pair of properties", (qemuImg) => {
  const isLong = inject("effort") > 1;

  test(isLong ? "all combinations" : "pairs", { timeout: hours }, async () => {
    const seed = inject("seed") ?? Date.now();
    let done = 0;
    const from = Number(process.env["FROM"] ?? 0);
    const run = async ({ setup, snapshots }: Combination): Promise<void> => {
      const number = seed + done++;
      if (done <= from) return;
      const steps = sequences({ compressed: true, maxLength: 12, snapshots });
      const sequence = fc.sample(steps, { seed: number, numRuns: 1 })[0]!;
      try {
        await judge(qemuImg, setup, sequence, directory);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        expect.fail(
          `${reason}\nseed ${seed}, combination ${done - 1}\n` +
            JSON.stringify({ setup, sequence }, undefined, 1),
        );
      }
    };
    for (let i = 0; i < (isLong ? 0 : sequencesPerPair); i++) {
      for (const combination of everyPair()) await run(combination);
    }
    if (isLong) for (const combination of fullProduct()) await run(combination);
    process.stdout.write(`${done} combinations of properties, seed ${seed}\n`);
    expect(done).toBeGreaterThan(sequencesPerPair * 15);
  });
});
