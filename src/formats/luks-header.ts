import { Structure, alignUp, divideUp } from "../bytes/index.ts";
import { PlatterError } from "../errors.ts";
import { luksMagic } from "./luks-magic.ts";

/** Bytes of the header before the key slots' areas (LUKS On-Disk Format Specification 1.2.3, "PHDR"). */
export const headerBytes = 592;
/** There are so many key slots. */
export const slotCount = 8;
/** Sectors are always this long in version 1. */
export const luksSector = 512;
/** How often a key is spread, so that erasing a little of it destroys it. */
export const stripes = 4000;
/** Bytes of the digest of the master key. */
export const digestBytes = 20;
/** Bytes of a salt. */
export const saltBytes = 32;

const slotActive = 0x00ac_71f3;
const slotDisabled = 0x0000_dead;
/** QEMU begins the first key's area here, and each other one at a multiple. */
const keyAlignment = 4096;

const text = { cipherName: 8, cipherMode: 40, hashSpec: 72, uuid: 168 } as const;
/** The numbers of the header. */
export const luksStructure = new Structure("LUKS header", {
  version: { at: 6, type: "u16", means: "version, 1" },
  payload_offset: { at: 104, type: "u32", means: "where the data starts, in sectors" },
  key_bytes: { at: 108, type: "u32", means: "length of the master key" },
  mk_digest_iter: { at: 164, type: "u32", means: "iterations for the master key's digest" },
});
/** The numbers of a key slot. */
export const luksSlotStructure = new Structure("LUKS key slot", {
  active: { at: 0, type: "u32", means: "whether there is a key" },
  iterations: { at: 4, type: "u32", means: "iterations for the passphrase" },
  key_material_offset: { at: 40, type: "u32", means: "where the key is, in sectors" },
  stripes: { at: 44, type: "u32", means: "how often the key is spread" },
});
/** Byte of the first key slot. */
export const slotsAt = 208;
/** Bytes of a key slot. */
export const slotSize = 48;
const digestAt = 112;
const digestSaltAt = 132;

/** A key slot. */
export interface KeySlot {
  readonly isActive: boolean;
  readonly iterations: number;
  readonly salt: Uint8Array;
  /** Bytes from the start of the header. */
  readonly keyOffset: number;
  readonly stripes: number;
}

/** How data and keys are encrypted. */
export interface CipherSpec {
  /** aes, and others that are not supported. */
  readonly cipher: string;
  /** xts, cbc, ecb. */
  readonly mode: string;
  /** plain, plain64, essiv; empty for none. */
  readonly ivgen: string;
  /** The hash of essiv. */
  readonly ivgenHash: string | undefined;
  /** Bytes of the key; twice as many for xts. */
  readonly keyBytes: number;
}

/** A LUKS header of version 1. */
export interface LuksHeader {
  readonly spec: CipherSpec;
  readonly hash: string;
  /** Bytes from the start of the header to the data. */
  readonly payloadOffset: number;
  readonly digest: Uint8Array;
  readonly digestSalt: Uint8Array;
  readonly digestIterations: number;
  readonly uuid: string;
  readonly slots: readonly KeySlot[];
}

/** Where QEMU puts the key of slot `slot`, and with `slotCount` where the data begins. */
export const keyOffsetOf = (slot: number, keyBytes: number): number =>
  keyAlignment +
  slot * alignUp(divideUp(keyBytes * stripes, luksSector) * luksSector, keyAlignment);

function invalid(file: string, qemu: string, field: string, value: unknown): PlatterError {
  return new PlatterError("E_CORRUPT", `${file}: ${qemu} (${field} is ${String(value)})`, {
    file,
    field,
    value: String(value),
    qemu,
  });
}

function readText(bytes: Uint8Array, at: number, length: number): string {
  const field = bytes.subarray(at, at + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

/**
 * Decodes and checks a header; `bytes` are at least {@link headerBytes}. Throws `E_CORRUPT`, `E_LIMIT`
 * and `E_UNSUPPORTED_FEATURE` with QEMU's words.
 */
export function decodeLuksHeader(bytes: Uint8Array, file: string): LuksHeader {
  const refuse = (qemu: string, field: string, value: unknown) => invalid(file, qemu, field, value);
  if (bytes.length < headerBytes || !luksMagic.every((byte, i) => bytes[i] === byte)) {
    throw refuse("Volume is not in LUKS format", "magic", "another");
  }
  const found = luksStructure.read(bytes);
  if (found.version !== 1) {
    const qemu = `LUKS version ${found.version} is not supported`;
    throw new PlatterError("E_UNSUPPORTED_FEATURE", `${file}: ${qemu}`, {
      file,
      field: "version",
      value: found.version,
      qemu,
    });
  }
  const name = readText(bytes, text.cipherName, 32);
  const modeText = readText(bytes, text.cipherMode, 32);
  const [mode = "", ivText = ""] = modeText.split(/-(.*)/s);
  if (ivText === "" && mode !== "ecb") {
    throw refuse(`Unexpected cipher mode string format '${modeText}'`, "cipher-mode", modeText);
  }
  const [ivgen = "", ivgenHash] = ivText.split(":");
  const keyBytes = found.key_bytes;
  if (keyBytes < 8 || keyBytes > 1024) {
    throw refuse(`Invalid key length ${keyBytes}`, "key-bytes", keyBytes);
  }
  const slots: KeySlot[] = [];
  for (let i = 0; i < slotCount; i++) {
    const at = slotsAt + i * slotSize;
    const slot = luksSlotStructure.read(bytes, at);
    if (slot.active !== slotActive && slot.active !== slotDisabled) {
      throw refuse(`Keyslot ${i} state (active/disable) is corrupted`, `slot ${i}`, slot.active);
    }
    slots.push({
      isActive: slot.active === slotActive,
      iterations: slot.iterations,
      salt: bytes.slice(at + 8, at + 8 + saltBytes),
      keyOffset: slot.key_material_offset * luksSector,
      stripes: slot.stripes,
    });
  }
  const header: LuksHeader = {
    spec: { cipher: name, mode, ivgen, ivgenHash, keyBytes },
    hash: readText(bytes, text.hashSpec, 32),
    payloadOffset: found.payload_offset * luksSector,
    digest: bytes.slice(digestAt, digestAt + digestBytes),
    digestSalt: bytes.slice(digestSaltAt, digestSaltAt + saltBytes),
    digestIterations: found.mk_digest_iter,
    uuid: readText(bytes, text.uuid, 40),
    slots,
  };
  checkSlots(header, refuse);
  return header;
}

/** Where keys lie: not over the header, the data, or one another. */
function checkSlots(
  { slots, spec, payloadOffset }: LuksHeader,
  refuse: (qemu: string, field: string, value: unknown) => PlatterError,
): void {
  const lengthOf = ({ stripes: count }: KeySlot) =>
    divideUp(spec.keyBytes * count, luksSector) * luksSector;
  slots.forEach((slot, i) => {
    const { keyOffset, stripes: count, isActive, iterations } = slot;
    if (count !== stripes) {
      throw refuse(
        `Keyslot ${i} is corrupted (stripes ${count} != ${stripes})`,
        `slot ${i}`,
        count,
      );
    }
    if (keyOffset < alignUp(headerBytes, luksSector)) {
      throw refuse(`Keyslot ${i} is overlapping the LUKS header`, `slot ${i}`, keyOffset);
    }
    if (isActive && iterations === 0) {
      throw refuse(`Keyslot ${i} iteration count is zero`, `slot ${i}`, iterations);
    }
    if (payloadOffset !== 0 && keyOffset + lengthOf(slot) > payloadOffset) {
      throw refuse(
        `Keyslot ${i} is overlapping with the encrypted payload`,
        `slot ${i}`,
        keyOffset,
      );
    }
    slots.slice(i + 1).forEach((other, j) => {
      const apart =
        keyOffset + lengthOf(slot) <= other.keyOffset ||
        other.keyOffset + lengthOf(other) <= keyOffset;
      if (apart) return;
      throw refuse(
        `Keyslots ${i} and ${i + 1 + j} are overlapping in the header`,
        `slot ${i}`,
        keyOffset,
      );
    });
  });
}

/** The bytes of a header. */
export function encodeLuksHeader(header: LuksHeader): Uint8Array {
  const bytes = new Uint8Array(headerBytes);
  const { spec, slots } = header;
  bytes.set(luksMagic);
  luksStructure.write(
    {
      version: 1,
      payload_offset: header.payloadOffset / luksSector,
      key_bytes: spec.keyBytes,
      mk_digest_iter: header.digestIterations,
    },
    bytes,
  );
  const write = (at: number, value: string): void => bytes.set(new TextEncoder().encode(value), at);
  write(text.cipherName, spec.cipher);
  const iv = spec.ivgenHash === undefined ? spec.ivgen : `${spec.ivgen}:${spec.ivgenHash}`;
  write(text.cipherMode, iv === "" ? spec.mode : `${spec.mode}-${iv}`);
  write(text.hashSpec, header.hash);
  write(text.uuid, header.uuid);
  bytes.set(header.digest, digestAt);
  bytes.set(header.digestSalt, digestSaltAt);
  slots.forEach((slot, i) => {
    const at = slotsAt + i * slotSize;
    luksSlotStructure.write(
      {
        active: slot.isActive ? slotActive : slotDisabled,
        iterations: slot.iterations,
        key_material_offset: slot.keyOffset / luksSector,
        stripes: slot.stripes,
      },
      bytes,
      at,
    );
    bytes.set(slot.salt, at + 8);
  });
  return bytes;
}
