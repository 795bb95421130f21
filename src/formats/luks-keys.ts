import type { Crypto } from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import type { Storage, WritableStorage } from "../storage/index.ts";
import {
  digestBytes,
  luksSector,
  saltBytes,
  type KeySlot,
  type LuksHeader,
} from "./luks-header.ts";
import { sectorCipher } from "./sector-cipher.ts";

/** Fewest iterations for a passphrase, and for the digest of the master key. */
const leastIterations = 1000;

/**
 * Most iterations that are done to find a key, in all active slots together: a minute or two. A header says
 * how many there are, and might ask for days.
 */
const mostIterations = 2 ** 27;

/** Where a LUKS header is. */
export interface LuksPlace {
  readonly storage: Storage;
  /** Byte of the storage at which the header starts. */
  readonly offset: number;
}

/**
 * The master key, by a passphrase that fits one of the slots, and which slot that is. Throws
 * `E_WRONG_KEY` when it fits none.
 */
export async function unlock(
  crypto: Crypto,
  place: LuksPlace,
  header: LuksHeader,
  password: Uint8Array,
): Promise<{ readonly key: Uint8Array; readonly slot: number }> {
  checkHash(crypto, header, place.storage.name);
  for (const [slot, keySlot] of header.slots.entries()) {
    if (!keySlot.isActive) continue;
    const key = await keyOf(crypto, place, header, keySlot, password);
    if (key !== undefined) return { key, slot };
  }
  const file = place.storage.name;
  throw new PlatterError("E_WRONG_KEY", `${file}: the secret fits none of the image's key slots`, {
    file,
    field: "key slots",
    qemu: "Invalid password, cannot unlock any keyslot",
  });
}

/** The hash that keys are derived with is needed for everything. */
export function checkHash(crypto: Crypto, { hash }: Pick<LuksHeader, "hash">, file: string): void {
  if (crypto.hasHash(hash)) return;
  throw new PlatterError("E_UNSUPPORTED_FEATURE", `${file}: the hash ${hash} is not supported`, {
    file,
    field: "hash",
    value: hash,
    qemu: `Hash algorithm '${hash}' is not supported`,
  });
}

/** Throws `E_LIMIT` or `E_CORRUPT` where finding a key would take too long, or be no work at all. */
function checkIterations({ slots, digestIterations }: LuksHeader, file: string): void {
  if (digestIterations === 0) {
    throw new PlatterError(
      "E_CORRUPT",
      `${file}: the digest of the LUKS master key has an iteration count of 0`,
      { file, field: "mk-digest-iter", value: 0 },
    );
  }
  const all = slots
    .filter(({ isActive }) => isActive)
    .reduce((sum, { iterations }) => sum + iterations + digestIterations, 0);
  if (all <= mostIterations) return;
  throw new PlatterError(
    "E_LIMIT",
    `${file}: the LUKS header asks for ${all} iterations to find a key, of which ${mostIterations} are done ` +
      `at most; add a key with a smaller iter-time and erase the others with a program that has the time`,
    { file, field: "iterations", value: all },
  );
}

/** The master key in a slot, if the passphrase is the slot's. */
export async function keyOf(
  crypto: Crypto,
  { storage, offset }: LuksPlace,
  header: LuksHeader,
  slot: KeySlot,
  password: Uint8Array,
): Promise<Uint8Array | undefined> {
  const { spec, hash } = header;
  checkIterations(header, storage.name);
  const length = spec.keyBytes * slot.stripes;
  const sectors = new Uint8Array(Math.ceil(length / luksSector) * luksSector);
  await storage.read(offset + slot.keyOffset, sectors);
  const slotKey = await crypto.pbkdf2({
    hash,
    password,
    salt: slot.salt,
    iterations: slot.iterations,
    length: spec.keyBytes,
  });
  const cipher = sectorCipher(crypto, spec, slotKey, "host", storage.name);
  const split = cipher.decrypt(0, sectors).subarray(0, length);
  const key = merge(crypto, hash, split, spec.keyBytes, slot.stripes);
  const digest = await digestOf(crypto, header, key);
  return digest.every((byte, i) => byte === header.digest[i]) ? key : undefined;
}

function digestOf(
  crypto: Crypto,
  {
    hash,
    digestSalt,
    digestIterations,
  }: Pick<LuksHeader, "hash" | "digestSalt" | "digestIterations">,
  key: Uint8Array,
): Promise<Uint8Array> {
  return crypto.pbkdf2({
    hash,
    password: key,
    salt: digestSalt,
    iterations: digestIterations,
    length: digestBytes,
  });
}

/** The digest of a new master key, with a salt of its own. */
export async function newDigest(
  crypto: Crypto,
  hash: string,
  key: Uint8Array,
  iterTime: number,
): Promise<Pick<LuksHeader, "digest" | "digestSalt" | "digestIterations">> {
  const digestSalt = crypto.random(saltBytes);
  const rate = await iterationsPerSecond(crypto, hash, digestBytes);
  const digestIterations = Math.max(leastIterations, Math.floor((rate * iterTime) / 1000 / 8));
  const digest = await digestOf(crypto, { hash, digestSalt, digestIterations }, key);
  return { digest, digestSalt, digestIterations: Math.min(digestIterations, 0xffff_ffff) };
}

/**
 * Writes the master key to a slot, to be had with `password`. Returns what the header says of the slot
 * from then on; the header itself is not written.
 */
export async function storeKey(
  crypto: Crypto,
  storage: WritableStorage,
  offset: number,
  header: LuksHeader,
  slot: KeySlot,
  key: Uint8Array,
  { password, iterTime }: { readonly password: Uint8Array; readonly iterTime: number },
): Promise<KeySlot> {
  const { spec, hash } = header;
  const salt = crypto.random(saltBytes);
  const rate = await iterationsPerSecond(crypto, hash, spec.keyBytes);
  const iterations = Math.min(
    0xffff_ffff,
    Math.max(leastIterations, Math.floor((rate * iterTime) / 1000)),
  );
  const slotKey = await crypto.pbkdf2({ hash, password, salt, iterations, length: spec.keyBytes });
  const split = splitKey(crypto, hash, key, slot.stripes);
  const sectors = new Uint8Array(Math.ceil(split.length / luksSector) * luksSector);
  sectors.set(split);
  const cipher = sectorCipher(crypto, spec, slotKey, "host", storage.name);
  await storage.write(offset + slot.keyOffset, cipher.encrypt(0, sectors));
  return { ...slot, isActive: true, iterations, salt };
}

/** Overwrites the key of a slot, several times, so that nothing of it is left. */
export async function eraseKey(
  crypto: Crypto,
  storage: WritableStorage,
  offset: number,
  header: LuksHeader,
  slot: KeySlot,
): Promise<KeySlot> {
  const length = Math.ceil((header.spec.keyBytes * slot.stripes) / luksSector) * luksSector;
  for (let round = 0; round < 40; round++) {
    await storage.write(offset + slot.keyOffset, crypto.random(length));
    await storage.flush();
  }
  return { ...slot, isActive: false, iterations: 0, salt: new Uint8Array(saltBytes) };
}

/** How many iterations of PBKDF2 this machine does in a second, measured. */
async function iterationsPerSecond(crypto: Crypto, hash: string, length: number): Promise<number> {
  const password = new Uint8Array(8);
  const salt = new Uint8Array(saltBytes);
  for (let iterations = 2 ** 15; ; iterations *= 2) {
    const start = performance.now();
    await crypto.pbkdf2({ hash, password, salt, iterations, length });
    const milliseconds = performance.now() - start;
    if (milliseconds >= 50) return (iterations * 1000) / milliseconds;
  }
}

/** AFsplit (specification, "AFsplitter"): spreads a key over `stripes` times its length. */
function splitKey(crypto: Crypto, hash: string, key: Uint8Array, stripes: number): Uint8Array {
  const length = key.length;
  const result = new Uint8Array(length * stripes);
  result.set(crypto.random(length * (stripes - 1)));
  let block: Uint8Array = new Uint8Array(length);
  for (let i = 0; i < stripes - 1; i++) {
    block = mixed(crypto, hash, block, result.subarray(i * length, (i + 1) * length));
  }
  const last = result.subarray(length * (stripes - 1));
  for (let i = 0; i < length; i++) last[i] = block[i]! ^ key[i]!;
  return result;
}

/** AFmerge: the key that was spread. */
function merge(
  crypto: Crypto,
  hash: string,
  split: Uint8Array,
  length: number,
  stripes: number,
): Uint8Array {
  let block: Uint8Array = new Uint8Array(length);
  for (let i = 0; i < stripes - 1; i++) {
    block = mixed(crypto, hash, block, split.subarray(i * length, (i + 1) * length));
  }
  const last = split.subarray(length * (stripes - 1), length * stripes);
  return block.map((byte, i) => byte ^ last[i]!);
}

function mixed(crypto: Crypto, hash: string, block: Uint8Array, stripe: Uint8Array): Uint8Array {
  return diffuse(
    crypto,
    hash,
    block.map((byte, i) => byte ^ stripe[i]!),
  );
}

/** H1 (specification, "Hash function extension"): each piece is hashed with its number before it. */
function diffuse(crypto: Crypto, hash: string, block: Uint8Array): Uint8Array {
  const result = new Uint8Array(block.length);
  const size = crypto.hash(hash, new Uint8Array(0)).length;
  for (let at = 0, number = 0; at < block.length; number++) {
    const piece = block.subarray(at, at + size);
    const input = new Uint8Array(4 + piece.length);
    new DataView(input.buffer).setUint32(0, number);
    input.set(piece, 4);
    result.set(crypto.hash(hash, input).subarray(0, piece.length), at);
    at += size;
  }
  return result;
}
