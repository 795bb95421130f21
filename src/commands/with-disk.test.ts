import { expect, it } from "vitest";
import { portableCodecs } from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import { FaultyStorage, type Storage } from "../storage/index.ts";
import { check } from "./check.ts";
import { convert } from "./convert.ts";
import { create } from "./create.ts";
import { MemoryProvider } from "./provider.test-kit.ts";

/** Files whose flushes all fail. */
class Unflushable extends MemoryProvider {
  override async open(name: string): Promise<Storage> {
    return new FaultyStorage(await super.open(name), {
      faults: [{ on: "flush", andAfter: true }],
    });
  }
}

it("tells the first error where writing and closing both fail", async () => {
  const provider = new Unflushable();
  const context = { provider, codecs: portableCodecs };
  provider.put("source", new Uint8Array(2 ** 20).fill(1));
  await create({ name: "target", format: "qcow2", size: 2 ** 20 }, context);
  const converting = convert(
    {
      sources: ["source"],
      target: "target",
      targetFormat: "qcow2",
      createTarget: false,
      sync: true,
    },
    context,
  );
  await expect(converting).rejects.toBeInstanceOf(PlatterError);
  await expect(converting).rejects.toMatchObject({ code: "E_IO" });
  expect(provider.openCount).toBe(0);
  const repairing = check({ name: "target", repair: "all" }, context);
  await expect(repairing).rejects.toBeInstanceOf(PlatterError);
});
