/**
 * Random operation sequences on images in memory against a plain byte array. When a property fails,
 * fast-check prints a seed and a path: give them to `fc.assert` as `{ seed, path, endOnFailure: true }`
 * to replay it.
 */
import fc from "fast-check";
import { describe, inject, test } from "vitest";
import { portableCodecs } from "../codec/index.ts";
import { Model } from "./model.test-kit.ts";
import { qcow2Setups, rawSetups, type ModelSetup } from "./model-setups.test-kit.ts";
import { sequences, type Step } from "./model-steps.test-kit.ts";

async function run(setup: ModelSetup, steps: readonly Step[]): Promise<void> {
  const model = await Model.create(setup, portableCodecs);
  for (const step of steps) await model.take(step);
  await model.finish();
}

describe("an image against a byte array", () => {
  test("qcow2, one request at a time", async () => {
    const setups = qcow2Setups({ compressions: ["zlib"] });
    const steps = sequences({ compressed: true, serial: true });
    await fc.assert(fc.asyncProperty(setups, steps, run), { numRuns: 60 * inject("effort") });
  });

  test("qcow2, requests at the same time", async () => {
    const setups = qcow2Setups({ compressions: ["zlib"] });
    const steps = sequences({ compressed: true });
    await fc.assert(fc.asyncProperty(setups, steps, run), { numRuns: 60 * inject("effort") });
  });

  test("qcow2 with small clusters, whose tables are evicted", async () => {
    const setups = qcow2Setups({ compressions: ["zlib"], clusterBits: [9, 10] }).map((setup) => ({
      ...setup,
      cacheSize: 1,
    }));
    const steps = sequences({ compressed: true });
    await fc.assert(fc.asyncProperty(setups, steps, run), { numRuns: 60 * inject("effort") });
  });

  test("raw", async () => {
    const steps = sequences({ compressed: false, snapshots: false });
    await fc.assert(fc.asyncProperty(rawSetups(), steps, run), { numRuns: 60 * inject("effort") });
  });
});
