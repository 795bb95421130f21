import { PlatterError } from "../errors.ts";
import type { WritableStorage } from "../storage/index.ts";
import type { EncryptionServices, FormatOptionValues } from "./format.ts";
import type { LuksHeader } from "./luks-header.ts";
import { eraseKey, keyOf, storeKey, unlock } from "./luks-keys.ts";
import { defaultIterTime, secretOf, writeLuksHeader } from "./luks-volume.ts";

/** What changes the keys of a volume. */
export interface AmendKeys {
  readonly storage: WritableStorage;
  /** Byte of the storage at which the LUKS header is. */
  readonly offset: number;
  readonly header: LuksHeader;
  readonly services: EncryptionServices | undefined;
  /** The secret that the volume was opened with. */
  readonly keySecret: unknown;
  /** What stands before the options' names. */
  readonly prefix: "" | "encrypt.";
  /** Allow what makes the data unreadable for good. */
  readonly force: boolean;
}

/**
 * Adds a key to a volume, or erases keys, as `qemu-img amend` does. Throws `E_INVALID_ARGUMENT` for options
 * that do not go together and for what would make the data unreadable, unless forced; `E_SECRET`,
 * `E_WRONG_KEY`. Returns the header that the volume has then.
 */
export async function amendKeys(
  volume: AmendKeys,
  values: FormatOptionValues,
): Promise<LuksHeader> {
  const { prefix, storage, header } = volume;
  const refuse = (name: string, qemu: string): PlatterError =>
    new PlatterError("E_INVALID_ARGUMENT", `${storage.name}: ${qemu}`, {
      file: storage.name,
      field: prefix + name,
      qemu,
    });
  const state = values[`${prefix}state`];
  if (state !== "active" && state !== "inactive") {
    throw state === undefined
      ? refuse("state", "Parameter 'state' is missing")
      : refuse("state", `Parameter 'state' does not accept value '${String(state)}'`);
  }
  const slot = values[`${prefix}keyslot`];
  if (slot !== undefined && (typeof slot !== "number" || slot < 0 || slot >= header.slots.length)) {
    const qemu = `Invalid keyslot ${String(slot)} specified, must be between 0 and ${header.slots.length - 1}`;
    throw refuse("keyslot", qemu);
  }
  const changed =
    state === "active"
      ? await addKey(volume, values, slot, refuse)
      : await eraseKeys(volume, values, slot, refuse);
  return changed;
}

type Refuse = (name: string, qemu: string) => PlatterError;

async function addKey(
  volume: AmendKeys,
  values: FormatOptionValues,
  slot: number | undefined,
  refuse: Refuse,
): Promise<LuksHeader> {
  const { storage, offset, header, services, keySecret, prefix, force } = volume;
  const newSecret = values[`${prefix}new-secret`];
  if (newSecret === undefined) {
    throw refuse("new-secret", "'new-secret' is required to activate a keyslot");
  }
  if (values[`${prefix}old-secret`] !== undefined) {
    throw refuse("old-secret", "'old-secret' must not be given when activating keyslots");
  }
  if (slot !== undefined && header.slots[slot]!.isActive && !force) {
    throw refuse("keyslot", `Refusing to overwrite active keyslot ${slot} - please erase it first`);
  }
  const place = slot ?? header.slots.findIndex(({ isActive }) => !isActive);
  if (place < 0) throw refuse("keyslot", "Can't add a keyslot - all keyslots are in use");
  const file = storage.name;
  const old = await secretOf(services, keySecret, `${prefix}key-secret`, file);
  const { key } = await unlock(old.crypto, { storage, offset }, header, old.password);
  const { crypto, password } = await secretOf(services, newSecret, `${prefix}new-secret`, file);
  const iterTime = Number(values[`${prefix}iter-time`] ?? defaultIterTime);
  const stored = await storeKey(crypto, storage, offset, header, header.slots[place]!, key, {
    password,
    iterTime,
  });
  // The key is there before the header says so.
  await storage.flush();
  return withSlots(volume, [[place, stored]]);
}

async function eraseKeys(
  volume: AmendKeys,
  values: FormatOptionValues,
  slot: number | undefined,
  refuse: Refuse,
): Promise<LuksHeader> {
  const { storage, offset, header, services, prefix, force } = volume;
  const refused = ["new-secret", "iter-time"].find((name) => values[prefix + name] !== undefined);
  if (refused !== undefined) {
    throw refuse(refused, `'${refused}' must not be given when erasing keyslots`);
  }
  const oldSecret = values[`${prefix}old-secret`];
  if (oldSecret === undefined && slot === undefined) {
    throw refuse(
      "keyslot",
      "To erase keyslot(s), either explicit keyslot index or the password currently contained in them " +
        "must be given",
    );
  }
  const file = storage.name;
  const secret =
    oldSecret === undefined
      ? undefined
      : await secretOf(services, oldSecret, `${prefix}old-secret`, file);
  const fits = async (index: number): Promise<boolean> => {
    const candidate = header.slots[index]!;
    if (secret === undefined) return true;
    if (!candidate.isActive) return false;
    const { crypto, password } = secret;
    const place = { storage, offset };
    return (await keyOf(crypto, place, header, candidate, password)) !== undefined;
  };
  const active = header.slots.filter(({ isActive }) => isActive).length;
  const chosen: number[] = [];
  if (slot === undefined) {
    for (const index of header.slots.keys()) if (await fits(index)) chosen.push(index);
    if (chosen.length === 0) {
      throw refuse("old-secret", "No keyslots match given (old) password for erase operation");
    }
    if (chosen.length === active && !force) {
      throw refuse(
        "old-secret",
        "All the active keyslots match the (old) password that was given and erasing them will erase " +
          "all the data in the image irreversibly - refusing operation",
      );
    }
  } else {
    if (!(await fits(slot))) {
      throw refuse(
        "keyslot",
        `Given keyslot ${slot} doesn't contain the given old password / erase operation`,
      );
    }
    if (!force && !header.slots[slot]!.isActive) {
      throw refuse("keyslot", `Given keyslot ${slot} is already erased (inactive) `);
    }
    if (!force && active === 1) {
      throw refuse(
        "keyslot",
        `Attempt to erase the only active keyslot ${slot} which will erase all the data in the image ` +
          `irreversibly - refusing operation`,
      );
    }
    chosen.push(slot);
  }
  const { crypto } = services!;
  const erased: Array<readonly [number, LuksHeader["slots"][number]]> = [];
  for (const index of chosen) {
    // First nobody takes it for a key any more, then nothing is left of it.
    const gone = { ...header.slots[index]!, isActive: false, iterations: 0 };
    await withSlots(volume, [...erased, [index, gone]]);
    await storage.flush();
    erased.push([index, await eraseKey(crypto, storage, offset, header, header.slots[index]!)]);
  }
  return withSlots(volume, erased);
}

/** Writes the header with some slots changed. */
async function withSlots(
  { storage, offset, header }: AmendKeys,
  changes: ReadonlyArray<readonly [index: number, slot: LuksHeader["slots"][number]]>,
): Promise<LuksHeader> {
  const slots = [...header.slots];
  for (const [index, slot] of changes) slots[index] = slot;
  const changed = { ...header, slots };
  await writeLuksHeader(storage, offset, changed);
  await storage.flush();
  return changed;
}
