import type { Crypto } from "../codec/index.ts";
import type { SectorCipher } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { WritableStorage } from "../storage/index.ts";
import type { EncryptionServices, FormatOptionValues } from "./format.ts";
import {
  decodeLuksHeader,
  encodeLuksHeader,
  headerBytes,
  keyOffsetOf,
  saltBytes,
  slotCount,
  stripes,
  type CipherSpec,
  type KeySlot,
  type LuksHeader,
} from "./luks-header.ts";
import { checkHash, newDigest, storeKey, unlock, type LuksPlace } from "./luks-keys.ts";
import { checkSpec, sectorCipher } from "./sector-cipher.ts";

/** Milliseconds that trying a passphrase shall take, unless the user says otherwise. */
export const defaultIterTime = 2000;

/** Reads the LUKS header at a place. Throws as {@link decodeLuksHeader}. */
export async function readLuksHeader({ storage, offset }: LuksPlace): Promise<LuksHeader> {
  const bytes = new Uint8Array(headerBytes);
  await storage.read(offset, bytes);
  return decodeLuksHeader(bytes, storage.name);
}

/** The secret that an option names. `option` is what QEMU calls it. Throws `E_SECRET`. */
export async function secretOf(
  services: EncryptionServices | undefined,
  id: unknown,
  option: string,
  file: string,
): Promise<{ readonly crypto: Crypto; readonly password: Uint8Array }> {
  if (typeof id !== "string" || id === "") {
    throw new PlatterError(
      "E_SECRET",
      `${file}: the image is encrypted: name its secret with ${option}`,
      { file, field: option, qemu: `Parameter '${option}' is required for cipher` },
    );
  }
  if (services === undefined) {
    throw new PlatterError(
      "E_SECRET",
      `${file}: the image is encrypted, and there is no way to get at the secret "${id}" here`,
      { file, field: option, value: id, qemu: `No secret with id '${id}'` },
    );
  }
  return { crypto: services.crypto, password: await services.secrets(id) };
}

/** The cipher of a volume, with the key that a passphrase opens. */
export async function openLuks(
  place: LuksPlace,
  header: LuksHeader,
  { crypto, password }: { readonly crypto: Crypto; readonly password: Uint8Array },
  counts: SectorCipher["counts"],
): Promise<SectorCipher> {
  checkSpec(crypto, header.spec, place.storage.name);
  const { key } = await unlock(crypto, place, header, password);
  return sectorCipher(crypto, header.spec, key, counts, place.storage.name);
}

/** What a new volume shall be. */
export interface NewLuks {
  readonly spec: CipherSpec;
  readonly hash: string;
  readonly iterTime: number;
}

const ciphers: Readonly<Record<string, readonly [name: string, bytes: number]>> = {
  "aes-128": ["aes", 16],
  "aes-192": ["aes", 24],
  "aes-256": ["aes", 32],
};
const otherCiphers = new Set(
  "des 3des cast5-128 serpent-128 serpent-192 serpent-256 twofish-128 twofish-192 twofish-256".split(
    " ",
  ),
);

/**
 * Reads the creation options of a volume; `prefix` is what stands before their names. Throws
 * `E_INVALID_ARGUMENT`, and `E_UNSUPPORTED` for ciphers that are not there.
 */
export function newLuksOptions(values: FormatOptionValues, prefix: string, file: string): NewLuks {
  const refuse = (
    name: string,
    qemu: string,
    code: "E_INVALID_ARGUMENT" | "E_UNSUPPORTED" = "E_INVALID_ARGUMENT",
  ): PlatterError => {
    const value = String(values[prefix + name]);
    return new PlatterError(code, `${file}: ${prefix}${name}=${value}: ${qemu}`, {
      file,
      field: prefix + name,
      value,
      qemu,
    });
  };
  const oneOf = (name: string, fallback: string, allowed: readonly string[]): string => {
    const value = values[prefix + name];
    if (value === undefined) return fallback;
    if (typeof value === "string" && allowed.includes(value)) return value;
    throw refuse(name, `Parameter '${prefix}${name}' does not accept value '${String(value)}'`);
  };
  const algorithm = oneOf("cipher-alg", "aes-256", [...Object.keys(ciphers), ...otherCiphers]);
  const found = ciphers[algorithm];
  if (found === undefined) {
    throw refuse("cipher-alg", `Algorithm '${algorithm}' is not supported`, "E_UNSUPPORTED");
  }
  const [cipher, bytes] = found;
  const mode = oneOf("cipher-mode", "xts", ["ecb", "cbc", "xts", "ctr"]);
  if (mode === "ctr")
    throw refuse("cipher-mode", "Cipher mode 'ctr' is not supported", "E_UNSUPPORTED");
  const ivgen = oneOf("ivgen-alg", "plain64", ["plain", "plain64", "essiv"]);
  const hashes = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"];
  const ivHash = oneOf("ivgen-hash-alg", "sha256", hashes);
  const hash = oneOf("hash-alg", "sha256", hashes);
  const iterTime = Number(values[`${prefix}iter-time`] ?? defaultIterTime);
  if (!Number.isInteger(iterTime) || iterTime < 1 || iterTime > 2 ** 32) {
    throw refuse("iter-time", "PBKDF iteration time must be a positive number of milliseconds");
  }
  return {
    spec: {
      cipher,
      mode,
      ivgen,
      ivgenHash: ivgen === "essiv" ? ivHash : undefined,
      keyBytes: mode === "xts" ? bytes * 2 : bytes,
    },
    hash,
    iterTime,
  };
}

/** Bytes that a volume's header and keys take before the data. */
export const luksOverhead = ({ spec }: Pick<NewLuks, "spec">): number =>
  keyOffsetOf(slotCount, spec.keyBytes);

/**
 * Makes a volume at `offset`: a random master key, in the first slot to be had with the passphrase. Writes
 * the key, and leaves the header to {@link writeLuksHeader}. Returns it, and the cipher for the data.
 */
export async function createLuks(
  storage: WritableStorage,
  offset: number,
  { spec, hash, iterTime }: NewLuks,
  { crypto, password }: { readonly crypto: Crypto; readonly password: Uint8Array },
  counts: SectorCipher["counts"],
): Promise<{ readonly header: LuksHeader; readonly cipher: SectorCipher }> {
  const file = storage.name;
  checkSpec(crypto, spec, file);
  checkHash(crypto, { hash }, file);
  const key = crypto.random(spec.keyBytes);
  const slots: KeySlot[] = Array.from({ length: slotCount }, (_, i) => ({
    isActive: false,
    iterations: 0,
    salt: new Uint8Array(saltBytes),
    keyOffset: keyOffsetOf(i, spec.keyBytes),
    stripes,
  }));
  const header: LuksHeader = {
    spec,
    hash,
    payloadOffset: keyOffsetOf(slotCount, spec.keyBytes),
    ...(await newDigest(crypto, hash, key, iterTime)),
    uuid: newUuid(crypto),
    slots,
  };
  slots[0] = await storeKey(crypto, storage, offset, header, slots[0]!, key, {
    password,
    iterTime,
  });
  return { header, cipher: sectorCipher(crypto, spec, key, counts, file) };
}

/** Writes a header; from then on the volume can be opened. */
export async function writeLuksHeader(
  storage: WritableStorage,
  offset: number,
  header: LuksHeader,
): Promise<void> {
  await storage.write(offset, encodeLuksHeader(header));
}

function newUuid(crypto: Crypto): string {
  const bytes = crypto.random(16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join("-");
}

/** What `info` says of a volume, under QEMU's names and in its order. */
export function luksDetails({
  spec,
  hash,
  uuid,
  slots,
  payloadOffset,
  digestIterations,
}: LuksHeader): Readonly<Record<string, unknown>> {
  const bits = (spec.mode === "xts" ? spec.keyBytes / 2 : spec.keyBytes) * 8;
  return {
    "ivgen-alg": spec.ivgen === "" ? "plain" : spec.ivgen,
    "hash-alg": hash,
    "cipher-alg": `${spec.cipher}-${bits}`,
    uuid,
    ...(spec.ivgenHash !== undefined && { "ivgen-hash-alg": spec.ivgenHash }),
    "cipher-mode": spec.mode,
    slots: slots.map((slot) => ({
      active: slot.isActive,
      ...(slot.isActive && { iters: slot.iterations }),
      "key-offset": slot.keyOffset,
      ...(slot.isActive && { stripes: slot.stripes }),
    })),
    "payload-offset": payloadOffset,
    "master-key-iters": digestIterations,
  };
}
