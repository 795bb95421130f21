/** Keys of an encrypted image that is open are changed one after the other. */
import { expect, test } from "vitest";
import { encryptionServices, formatNamed, openDisk } from "../src/formats/index.ts";
import { nodeCodecs } from "../src/host/index.ts";
import { MemoryStorage } from "../src/storage/index.ts";

/** Each secret is its own name. */
const secrets = (id: string): Promise<Uint8Array> =>
  Promise.resolve(new TextEncoder().encode(`the secret ${id}`));

const open = (storage: MemoryStorage, format: string, key: string, writable = true) =>
  openDisk(storage, {
    format,
    writable,
    codecs: nodeCodecs,
    secrets,
    runtime: { [format === "luks" ? "key-secret" : "encrypt.key-secret"]: key },
  });

test.each(["luks", "qcow2"])("%s: each change knows of those before it", async (format) => {
  const prefix = format === "luks" ? "" : "encrypt.";
  const storage = new MemoryStorage({ name: "image" });
  const made = await formatNamed(format, "create").create!(storage, {
    size: 2 ** 20,
    values: {
      ...(format === "qcow2" && { "encrypt.format": "luks" }),
      [`${prefix}key-secret`]: "first",
      [`${prefix}iter-time`]: 10,
    },
    encryption: await encryptionServices({ codecs: nodeCodecs, secrets }),
  });
  await made.finish({ durable: false });
  await made.image.close();
  const disk = await open(storage.clone(), format, "first");
  const amend = (values: Readonly<Record<string, string | number>>): Promise<void> =>
    disk.image.amend!({
      resize: (size) => disk.resize(size),
      values: Object.fromEntries(
        Object.entries(values).map(([name, value]) => [prefix + name, value]),
      ),
    });
  await disk.write(4096, new Uint8Array(512).fill(7));
  await amend({ state: "active", "new-secret": "second", "iter-time": 10 });
  await amend({ state: "active", "new-secret": "third", "iter-time": 10 });
  await amend({ state: "inactive", "old-secret": "first" });
  await amend({ state: "inactive", keyslot: 1 });
  await expect(amend({ state: "inactive", keyslot: 2 })).rejects.toMatchObject({
    code: "E_INVALID_ARGUMENT",
  });
  const active = JSON.stringify(disk.image.details).match(/"active":true/g);
  expect(active).toHaveLength(1);
  await disk.flush();
  const left = (disk.image.storage as MemoryStorage).clone();
  await disk.close();
  for (const key of ["first", "second"]) {
    await expect(open(left.clone(), format, key)).rejects.toMatchObject({ code: "E_WRONG_KEY" });
  }
  await using again = await open(left, format, "third", false);
  const found = new Uint8Array(512);
  await again.read(4096, found);
  expect(found).toEqual(new Uint8Array(512).fill(7));
});
