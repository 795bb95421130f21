/** In an encrypted image, a hole of the host is not zeros, but what zeros decrypt to. */
import { expect, test } from "vitest";
import { encryptionServices, formatNamed, openDisk } from "../src/formats/index.ts";
import type { Disk } from "../src/disk/index.ts";
import { nodeCodecs } from "../src/host/index.ts";
import { MemoryStorage } from "../src/storage/index.ts";

const KiB = 1024;
const secrets = (): Promise<Uint8Array> => Promise.resolve(new TextEncoder().encode("a secret"));

async function made(format: "luks" | "qcow2", data?: MemoryStorage): Promise<Disk> {
  const storage = new MemoryStorage({ name: "image" });
  const prefix = format === "luks" ? "" : "encrypt.";
  const created = await formatNamed(format, "create").create!(storage, {
    size: 512 * KiB,
    values: {
      ...(format === "qcow2" && { "encrypt.format": "luks", cluster_size: 2048 * KiB }),
      ...(format === "qcow2" && { extended_l2: true, data_file: "data" }),
      [`${prefix}key-secret`]: "key",
      [`${prefix}iter-time`]: 10,
    },
    dataStorage: data,
    encryption: await encryptionServices({ codecs: nodeCodecs, secrets }),
  });
  await created.finish({ durable: false });
  const left = storage.clone();
  await created.image.close();
  return openDisk(left, {
    format,
    writable: true,
    codecs: nodeCodecs,
    secrets,
    references: () => Promise.resolve(data!),
    runtime: { [`${prefix}key-secret`]: "key" },
  });
}

test("after shrinking and growing, what was cut off reads as zeros", async () => {
  await using disk = await made("qcow2", new MemoryStorage({ name: "data" }));
  await disk.write(0, new Uint8Array(512 * KiB).fill(7));
  await disk.resize(50 * KiB);
  await disk.resize(120 * KiB);
  await disk.resize(400 * KiB);
  const found = new Uint8Array(400 * KiB);
  await disk.read(0, found);
  const expected = new Uint8Array(400 * KiB).fill(7, 0, 50 * KiB);
  expect(Buffer.compare(found, expected)).toBe(0);
});

test("a volume that has never been written to is data all over", async () => {
  await using disk = await made("luks");
  const extents: unknown[] = [];
  for await (const { start, length, zero, data } of disk.extents({ holes: true })) {
    extents.push({ start, length, zero, data });
  }
  expect(extents).toEqual([{ start: 0, length: 512 * KiB, zero: false, data: true }]);
});
