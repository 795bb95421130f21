/** Keys of an encrypted image that is open are changed one after the other. */
import { expect, test } from "vitest";
import { encryptionServices, formatNamed, openDisk } from "../src/formats/index.ts";
import { nodeCodecs } from "../src/host/index.ts";
import { FaultyStorage, MemoryStorage, type Storage } from "../src/storage/index.ts";

/** Each secret is its own name. */
const secrets = (id: string): Promise<Uint8Array> =>
  Promise.resolve(new TextEncoder().encode(`the secret ${id}`));

const open = (storage: Storage, format: string, key: string, writable = true) =>
  openDisk(storage, {
    format,
    writable,
    codecs: nodeCodecs,
    secrets,
    runtime: { [format === "luks" ? "key-secret" : "encrypt.key-secret"]: key },
  });

/** An encrypted image with one key. */
async function create(format: string): Promise<MemoryStorage> {
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
  const left = storage.clone();
  await made.image.close();
  return left;
}

test.each(["luks", "qcow2"])("%s: each change knows of those before it", async (format) => {
  const prefix = format === "luks" ? "" : "encrypt.";
  const storage = await create(format);
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

test.each(["luks", "qcow2"])("%s: a change that fails is seen by the next", async (format) => {
  const prefix = format === "luks" ? "" : "encrypt.";
  const made = await create(format);
  let failed = 0;
  for (let nth = 1; nth <= 12; nth++) {
    const memory = made.clone();
    const faulty = new FaultyStorage(memory, { faults: [{ on: "write", nth }] });
    const disk = await open(faulty, format, "first");
    const amend = async (values: Readonly<Record<string, string | number>>): Promise<void> => {
      const named = Object.entries(values).map(([name, value]) => [prefix + name, value]);
      try {
        const resize = (size: number): Promise<void> => disk.resize(size);
        await disk.image.amend!({ resize, values: Object.fromEntries(named) });
      } catch {
        failed++;
      }
    };
    await amend({ state: "active", "new-secret": "second", "iter-time": 10 });
    await amend({ state: "active", "new-secret": "second", "iter-time": 10 });
    await amend({ state: "inactive", "old-secret": "second" });
    const said = JSON.stringify(disk.image.details);
    const left = memory.clone();
    await disk.close();
    await using again = await open(left, format, "first", false);
    expect(said).toBe(JSON.stringify(again.image.details));
  }
  expect(failed).toBeGreaterThan(3);
});
