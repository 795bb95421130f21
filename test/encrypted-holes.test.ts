/** In an encrypted image, a hole of the host is not zeros, but what zeros decrypt to. */
import { expect, test } from "vitest";
import { encryptionServices, formatNamed, openDisk } from "../src/formats/index.ts";
import { nodeCodecs } from "../src/host/index.ts";
import { MemoryStorage } from "../src/storage/index.ts";

const KiB = 1024;
const secrets = (): Promise<Uint8Array> => Promise.resolve(new TextEncoder().encode("a secret"));

test("a volume that has never been written to is data all over", async () => {
  const storage = new MemoryStorage({ name: "image" });
  const created = await formatNamed("luks", "create").create!(storage, {
    size: 512 * KiB,
    values: { "key-secret": "key", "iter-time": 10 },
    encryption: await encryptionServices({ codecs: nodeCodecs, secrets }),
  });
  await created.finish({ durable: false });
  await using disk = await openDisk(storage.clone(), {
    format: "luks",
    codecs: nodeCodecs,
    secrets,
    runtime: { "key-secret": "key" },
  });
  const extents: unknown[] = [];
  for await (const { start, length, zero, data } of disk.extents({ holes: true })) {
    extents.push({ start, length, zero, data });
  }
  expect(extents).toEqual([{ start: 0, length: 512 * KiB, zero: false, data: true }]);
});
