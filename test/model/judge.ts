/** QEMU as the judge of what the model has left in a file. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { expectEqual } from "../../src/formats/expectations.test-kit.ts";
import { Model, modelPassword } from "../../src/formats/model.test-kit.ts";
import type { ModelSetup } from "../../src/formats/model-setups.test-kit.ts";
import type { Step } from "../../src/formats/model-steps.test-kit.ts";
import { nodeCodecs } from "../../src/host/index.ts";
import { MemoryStorage } from "../../src/storage/index.ts";
import type { Peer } from "../peers.ts";

/**
 * Takes the steps on an image of our own. Then `qemu-img check` has to find it clean, and `qemu-img
 * convert` has to read what the model says, in each snapshot, too. Leaves files in `directory`.
 */
export async function judge(
  qemuImg: Peer,
  setup: ModelSetup,
  steps: readonly Step[],
  directory: string,
): Promise<void> {
  const file = new MemoryStorage({ name: "ours" });
  const base = new MemoryStorage({ name: "base" });
  const data = new MemoryStorage({ name: "data" });
  const model = await Model.create(setup, nodeCodecs, file, base, data);
  for (const step of steps) await model.take(step);
  await model.finish();
  await writeFile(join(directory, "ours"), file.toBytes());
  await writeFile(join(directory, "base"), base.toBytes());
  await writeFile(join(directory, "data"), data.toBytes());
  const { encryption } = setup;
  const unlocked =
    encryption === undefined ? [] : ["--object", `secret,id=model,data=${modelPassword}`];
  const source =
    "driver=qcow2,file.driver=file,file.filename=ours" +
    (encryption === undefined ? "" : `,encrypt.format=${encryption},encrypt.key-secret=model`);
  await qemuImg.run(["check", ...unlocked, "--image-opts", source], { cwd: directory });
  const expectRead = async (bytes: Uint8Array, ...which: string[]): Promise<void> => {
    const words = ["convert", ...unlocked, "--image-opts", ...which, "-O", "raw"];
    await qemuImg.run([...words, source, "theirs.raw"], { cwd: directory });
    const found = new Uint8Array(await readFile(join(directory, "theirs.raw")));
    expect(found.length).toBe(bytes.length);
    expectEqual(found, bytes, 0);
  };
  await expectRead(model.bytes);
  for (const [name, bytes] of model.kept) {
    // QEMU shows it with the size that the disk has now.
    if (bytes.length === model.bytes.length) await expectRead(bytes, "-l", name);
  }
}
