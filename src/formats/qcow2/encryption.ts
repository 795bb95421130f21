import { Structure, divideUp, host, type HostOffset } from "../../bytes/index.ts";
import type { SectorCipher } from "../../disk/index.ts";
import type { Storage, WritableStorage } from "../../storage/index.ts";
import {
  createLuks,
  luksDetails,
  luksOverhead,
  newLuksOptions,
  openLuks,
  readLuksHeader,
  secretOf,
  writeLuksHeader,
} from "../luks-volume.ts";
import type { LuksHeader } from "../luks-header.ts";
import { sectorCipher } from "../sector-cipher.ts";
import type { EncryptionServices, FormatOptionValues, RuntimeOptions } from "../format.ts";
import { ExtensionType, type Extension } from "./extensions.ts";
import type { Header } from "./header.ts";
import { invalid } from "./invalid.ts";
import type { ImageEncryption, WritableMetadata } from "./metadata.ts";

/** Values of the header's `crypt_method`. */
const CryptMethod = { none: 0, aes: 1, luks: 2 } as const;

/** The full disk encryption header pointer (specification, section of that name). */
const pointer = new Structure("Full disk encryption header pointer", {
  offset: { at: 0, type: "u64", means: "where the encryption header is" },
  length: { at: 8, type: "u64", means: "length of the encryption header in bytes" },
});

/** How an image is encrypted. */
export interface Encryption {
  readonly format: "aes" | "luks";
  /** Absent when the image is only looked at. */
  readonly cipher: SectorCipher | undefined;
  /** The LUKS header, and where it is. */
  readonly luks?: { readonly header: LuksHeader; readonly place: EncryptionPlace };
  readonly amend?: ImageEncryption["amend"];
}

/** Where the encryption header is. */
export interface EncryptionPlace {
  readonly offset: HostOffset;
  /** Bytes. */
  readonly length: number;
}

/** Where a header says that the encryption header is. Throws `E_CORRUPT`. */
function encryptionPlace(header: Header, file: string): EncryptionPlace | undefined {
  const found = header.extensions.find(({ type }) => type === ExtensionType.encryption);
  if (found === undefined) return undefined;
  const { length: size } = found.data;
  if (size !== pointer.size) {
    const text = `CRYPTO header extension size ${size}, but expected size ${pointer.size}`;
    throw invalid(file, "E_CORRUPT", text, { field: "header extension 0x537be77", value: size });
  }
  const { offset, length } = pointer.read(found.data);
  const clusterSize = BigInt(2 ** header.fields.cluster_bits);
  if (offset % clusterSize !== 0n || offset > BigInt(Number.MAX_SAFE_INTEGER)) {
    const text = `Encryption header offset '${offset}' is not a multiple of cluster size '${clusterSize}'`;
    throw invalid(file, "E_CORRUPT", text, { field: "encryption header offset", value: offset });
  }
  if (length > 2n ** 32n) {
    const text = "Encryption header is too long";
    throw invalid(file, "E_LIMIT", text, { field: "encryption header length", value: length });
  }
  return { offset: host(Number(offset)), length: Number(length) };
}

/** What opening an encrypted image takes. */
export interface OpenEncryptionOptions {
  readonly runtime: RuntimeOptions;
  readonly services: EncryptionServices | undefined;
  /** Only look at the header: no key is needed. */
  readonly inspect: boolean;
}

/**
 * Finds out how an image is encrypted, and gets at its key. Throws `E_SECRET`, `E_WRONG_KEY`, and for what
 * is wrong with the encryption header as {@link readLuksHeader}.
 */
export async function openEncryption(
  storage: Storage,
  header: Header,
  { runtime, services, inspect }: OpenEncryptionOptions,
): Promise<Encryption> {
  const { name: file } = storage;
  const { crypt_method: method } = header.fields;
  if (method !== CryptMethod.aes && method !== CryptMethod.luks) {
    throw invalid(file, "E_UNSUPPORTED_FEATURE", `Unsupported encryption method ${method}`, {
      field: "crypt_method",
      value: method,
    });
  }
  const format = method === CryptMethod.aes ? "aes" : "luks";
  const asked = runtime["encrypt.format"];
  if (asked !== undefined && asked !== format) {
    const text = `Header reported '${format}' encryption format but options specify '${String(asked)}'`;
    throw invalid(file, "E_CORRUPT", text, { field: "encrypt.format", value: String(asked) });
  }
  const secret = () =>
    secretOf(services, runtime["encrypt.key-secret"], "encrypt.key-secret", file);
  if (format === "aes") {
    return { format, cipher: inspect ? undefined : legacyCipher(await secret(), file) };
  }
  const place = encryptionPlace(header, file);
  if (place === undefined) {
    throw invalid(file, "E_CORRUPT", "Missing CRYPTO header for crypt method 2", {
      field: "header extension 0x537be77",
    });
  }
  const volume = { storage, offset: place.offset };
  const found = await readLuksHeader(volume);
  // Keys come and go.
  let present = found;
  return {
    format,
    cipher: inspect ? undefined : await openLuks(volume, found, await secret(), "host"),
    luks: {
      get header() {
        return present;
      },
      place,
    },
    async amend(values, force) {
      const { amendKeys } = await import("../luks-amend.ts");
      const changed = amendKeys(
        {
          storage: storage as WritableStorage,
          offset: place.offset,
          header: present,
          services,
          keySecret: runtime["encrypt.key-secret"],
          prefix: "encrypt.",
          force,
        },
        values,
      );
      // Where it fails half-way, some of the keys may be others already.
      present = await changed.catch(async (error: unknown) => {
        present = await readLuksHeader(volume).catch(() => present);
        throw error;
      });
    },
  };
}

/** Method 1: AES of 128 bits in CBC mode with the passphrase itself for a key. Nothing checks it. */
function legacyCipher(
  { crypto, password }: Awaited<ReturnType<typeof secretOf>>,
  file: string,
): SectorCipher {
  const key = new Uint8Array(16);
  key.set(password.subarray(0, key.length));
  const spec = {
    cipher: "aes",
    mode: "cbc",
    ivgen: "plain64",
    ivgenHash: undefined,
    keyBytes: key.length,
  };
  return sectorCipher(crypto, spec, key, "guest", file);
}

/** Encryption that creation options ask for: its method for the header, and what makes it. */
export interface NewEncryption {
  readonly method: number;
  /** Makes it in an image that has all its tables, and adds to the header what is needed to find it. */
  create(metadata: WritableMetadata): Promise<Encryption>;
}

/**
 * Reads the creation options for encryption, and gets at the secret. Throws `E_INVALID_ARGUMENT`,
 * `E_UNSUPPORTED`, `E_SECRET`.
 */
export async function newEncryption(
  values: FormatOptionValues,
  format: "aes" | "luks",
  services: EncryptionServices | undefined,
  storage: WritableStorage,
): Promise<NewEncryption> {
  const { name: file } = storage;
  const wanted = format === "luks" ? newLuksOptions(values, "encrypt.", file) : undefined;
  const secret = await secretOf(services, values["encrypt.key-secret"], "encrypt.key-secret", file);
  if (wanted === undefined) {
    const cipher = legacyCipher(secret, file);
    return { method: CryptMethod.aes, create: () => Promise.resolve({ format, cipher }) };
  }
  return {
    method: CryptMethod.luks,
    async create(metadata) {
      const { allocator, geometry, header } = metadata;
      const length = luksOverhead(wanted);
      const clusters = divideUp(length, geometry.clusterSize);
      const offset = await allocator.allocate(clusters);
      await metadata.overlap.prevent(offset, length);
      // What is in between the keys shall be known, too.
      await storage.write(offset, new Uint8Array(clusters * geometry.clusterSize));
      const made = await createLuks(storage, offset, wanted, secret, "host");
      await writeLuksHeader(storage, offset, made.header);
      const data = new Uint8Array(pointer.size);
      pointer.write({ offset: BigInt(offset), length: BigInt(length) }, data);
      const extension: Extension = { type: ExtensionType.encryption, data };
      metadata.checkHeader([...header.extensions, extension]);
      header.extensions = [...header.extensions, extension];
      return {
        format,
        cipher: made.cipher,
        luks: { header: made.header, place: { offset, length } },
      };
    },
  };
}

/** What the rest of an image needs to know of it. */
export function imageEncryption(encryption: Encryption): ImageEncryption {
  const { cipher, luks, amend } = encryption;
  return {
    cipher,
    amend,
    place: luks?.place,
    get details() {
      return encryptionDetails(encryption);
    },
  };
}

/** What `info` says of it, under QEMU's names and in its order. */
function encryptionDetails({ format, luks }: Encryption): Readonly<Record<string, unknown>> {
  if (luks === undefined) return { format };
  const { "cipher-mode": mode, slots, ...rest } = luksDetails(luks.header);
  const { "payload-offset": payload, "master-key-iters": iterations, ...first } = rest;
  return {
    ...first,
    format,
    "cipher-mode": mode,
    slots,
    "payload-offset": payload,
    "master-key-iters": iterations,
  };
}
