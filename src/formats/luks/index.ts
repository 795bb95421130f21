import { alignUp } from "../../bytes/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Format, FormatCreateOptions, FormatOpenOptions, NewImage } from "../format.ts";
import type { Storage, WritableStorage } from "../../storage/index.ts";
import { isLuks } from "../luks-magic.ts";
import { keyOptions, luksOptions } from "../luks-options.ts";
import { fileOptions } from "../file-options.ts";

/**
 * LUKS version 1 (LUKS On-Disk Format Specification), as Linux's dm-crypt and QEMU have it. What it takes
 * is loaded when an image is opened or made.
 */
export const luks: Format = {
  name: "luks",
  probe: (head) => (isLuks(head) ? 100 : 0),
  runtimeOptions: ["key-secret"],
  createOptions: [...luksOptions(""), ...fileOptions],
  amendOptions: keyOptions(""),
  open: async (storage, options) => openVolume(storage, options),
  create: async (storage, options) => createVolume(storage, options),
  async measure({ size, values = {} }) {
    const { newLuksOptions, luksOverhead } = await import("../luks-volume.ts");
    const bytes = luksOverhead(newLuksOptions(values, "", "luks")) + alignUp(size, 512);
    return { required: bytes, fullyAllocated: bytes };
  },
};

async function openVolume(storage: Storage, options: FormatOpenOptions) {
  const [{ openLuks, readLuksHeader, secretOf }, { LuksImage }] = await Promise.all([
    import("../luks-volume.ts"),
    import("./image.ts"),
  ]);
  const place = { storage, offset: 0 };
  if (options.writable && storage.write === undefined) {
    throw new PlatterError("E_READ_ONLY", `${storage.name}: the storage cannot be written`, {
      file: storage.name,
    });
  }
  const header = await readLuksHeader(place);
  if (options.inspect === true) return new LuksImage(storage, header, undefined, false);
  const id = options.runtime?.["key-secret"];
  const secret = await secretOf(options.encryption, id, "key-secret", storage.name);
  const cipher = await openLuks(place, header, secret, "guest");
  const keys = options.writable
    ? { storage: storage as WritableStorage, services: options.encryption, keySecret: id }
    : undefined;
  return new LuksImage(storage, header, cipher, options.writable, keys);
}

async function createVolume(
  storage: WritableStorage,
  { size, backing, values = {}, encryption }: FormatCreateOptions,
): Promise<NewImage> {
  const file = storage.name;
  if (backing !== undefined) {
    throw new PlatterError("E_INVALID_ARGUMENT", `${file}: a luks image has no backing file`, {
      file,
      field: "backing_file",
      value: backing.name,
      qemu: "Backing file not supported for file format 'luks'",
    });
  }
  const [volume, { LuksImage }] = await Promise.all([
    import("../luks-volume.ts"),
    import("./image.ts"),
  ]);
  const wanted = volume.newLuksOptions(values, "", file);
  const secret = await volume.secretOf(encryption, values["key-secret"], "key-secret", file);
  const overhead = volume.luksOverhead(wanted);
  await storage.truncate?.(overhead + size);
  const { header, cipher } = await volume.createLuks(storage, 0, wanted, secret, "guest");
  return {
    image: new LuksImage(storage, header, cipher, true),
    async finish({ durable }) {
      await volume.writeLuksHeader(storage, 0, header);
      if (durable) await storage.flush();
    },
  };
}
