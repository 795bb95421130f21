import type { BlockCipher, Crypto } from "../codec/index.ts";
import { cipherSector, type SectorCipher } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { CipherSpec } from "./luks-header.ts";

const blockBytes = 16;

/** Fills 16 bytes a sector with the number of the sector, before or as its IV. */
type IvGenerator = (firstSector: number, sectors: number) => Uint8Array;

/**
 * The cipher that a specification describes. Blocks go through AES in large pieces; only what a mode
 * adds to that is done here. Throws `E_UNSUPPORTED_FEATURE` naming what is missing.
 */
export function sectorCipher(
  crypto: Crypto,
  spec: CipherSpec,
  key: Uint8Array,
  counts: SectorCipher["counts"],
  file: string,
): SectorCipher {
  checkSpec(crypto, spec, file);
  const ivs = ivGenerator(crypto, spec, key);
  switch (spec.mode) {
    case "xts":
      return xts(crypto, key, ivs, counts);
    case "cbc":
      return cbc(crypto, key, ivs, counts);
    default: {
      const encrypt = crypto.aes(key, "encrypt");
      const decrypt = crypto.aes(key, "decrypt");
      return {
        counts,
        encrypt: (_position, data) => encrypt(data),
        decrypt: (_position, data) => decrypt(data),
      };
    }
  }
}

/** Throws `E_UNSUPPORTED_FEATURE` for ciphers, modes and hashes that are not there. */
export function checkSpec(crypto: Crypto, spec: CipherSpec, file: string): void {
  const { cipher, mode, ivgen, ivgenHash, keyBytes } = spec;
  const refuse = (field: string, value: string, qemu: string): PlatterError =>
    new PlatterError(
      "E_UNSUPPORTED_FEATURE",
      `${file}: the image is encrypted with ${field} ${value}, which is not supported`,
      { file, field, value, qemu },
    );
  if (cipher !== "aes") throw refuse("cipher", cipher, `Algorithm '${cipher}' is not supported`);
  if (!["xts", "cbc", "ecb"].includes(mode)) {
    throw refuse("cipher mode", mode, `Cipher mode '${mode}' is not supported`);
  }
  const bytes = mode === "xts" ? keyBytes / 2 : keyBytes;
  if (![16, 24, 32].includes(bytes)) {
    throw refuse(
      "key length",
      String(keyBytes),
      `Algorithm 'aes' with key size ${keyBytes} bytes not supported`,
    );
  }
  if (!["plain", "plain64", "essiv"].includes(ivgen) && mode !== "ecb") {
    throw refuse("IV generator", ivgen, `IV generator '${ivgen}' is not supported`);
  }
  if (ivgen === "essiv") {
    const name = String(ivgenHash);
    if (!crypto.hasHash(name)) {
      throw refuse("IV hash", name, `Hash algorithm '${name}' is not supported`);
    }
    const { length } = crypto.hash(name, new Uint8Array(0));
    if (![16, 24, 32].includes(length)) {
      throw refuse("IV hash", name, `No AES cipher with key size ${length} available`);
    }
  }
}

function ivGenerator(crypto: Crypto, spec: CipherSpec, key: Uint8Array): IvGenerator {
  const numbers: IvGenerator = (first, sectors) => {
    const bytes = new Uint8Array(sectors * blockBytes);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < sectors; i++) {
      const sector = first + i;
      view.setUint32(i * blockBytes, sector % 2 ** 32, true);
      if (spec.ivgen !== "plain") {
        view.setUint32(i * blockBytes + 4, Math.floor(sector / 2 ** 32), true);
      }
    }
    return bytes;
  };
  if (spec.ivgen !== "essiv") return numbers;
  // The number of the sector is encrypted with a hash of the key.
  const salt = crypto.hash(spec.ivgenHash!, key);
  const encrypt = crypto.aes(salt, "encrypt");
  return (first, sectors) => encrypt(numbers(first, sectors));
}

/** XTS (IEEE 1619): blocks are masked before and after with the encrypted IV, doubled for each. */
function xts(
  crypto: Crypto,
  key: Uint8Array,
  ivs: IvGenerator,
  counts: SectorCipher["counts"],
): SectorCipher {
  const half = key.length / 2;
  const encrypt = crypto.aes(key.subarray(0, half), "encrypt");
  const decrypt = crypto.aes(key.subarray(0, half), "decrypt");
  const encryptTweak = crypto.aes(key.subarray(half), "encrypt");
  const run = (position: number, data: Uint8Array, blocks: BlockCipher): Uint8Array => {
    const sectors = data.length / cipherSector;
    if (sectors === 0) return data;
    const first = encryptTweak(ivs(position / cipherSector, sectors));
    const masks = doubled(first, sectors);
    const masked = xor(data, masks);
    return xor(blocks(masked), masks);
  };
  return {
    counts,
    encrypt: (position, data) => run(position, data, encrypt),
    decrypt: (position, data) => run(position, data, decrypt),
  };
}

/** The masks of all blocks of `sectors` sectors, from those of their first blocks. */
function doubled(first: Uint8Array, sectors: number): Uint8Array {
  const perSector = cipherSector / blockBytes;
  const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
  const masks = new Uint32Array((sectors * cipherSector) / 4);
  let at = 0;
  for (let sector = 0; sector < sectors; sector++) {
    let a = view.getUint32(sector * blockBytes, true);
    let b = view.getUint32(sector * blockBytes + 4, true);
    let c = view.getUint32(sector * blockBytes + 8, true);
    let d = view.getUint32(sector * blockBytes + 12, true);
    for (let i = 0; i < perSector; i++) {
      masks[at++] = a;
      masks[at++] = b;
      masks[at++] = c;
      masks[at++] = d;
      const carry = d >>> 31;
      d = (d << 1) | (c >>> 31);
      c = (c << 1) | (b >>> 31);
      b = (b << 1) | (a >>> 31);
      a = (a << 1) ^ (carry * 0x87);
    }
  }
  return new Uint8Array(masks.buffer);
}

/** The bytes of both, combined by exclusive or, in a new array. */
function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  const words = a.length / 4;
  const left = aligned(a);
  const right = aligned(b);
  const result = new Uint32Array(words);
  for (let i = 0; i < words; i++) result[i] = left[i]! ^ right[i]!;
  return new Uint8Array(result.buffer);
}

/** The bytes as words; copied where they do not lie so. */
function aligned(bytes: Uint8Array): Uint32Array {
  const there = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(there.buffer, there.byteOffset, there.length / 4);
}

/** CBC, each sector by itself: decrypting is a matter of blocks, encrypting goes sector by sector. */
function cbc(
  crypto: Crypto,
  key: Uint8Array,
  ivs: IvGenerator,
  counts: SectorCipher["counts"],
): SectorCipher {
  const decrypt = crypto.aes(key, "decrypt");
  return {
    counts,
    encrypt(position, data) {
      const sectors = data.length / cipherSector;
      const iv = ivs(position / cipherSector, sectors);
      const result = new Uint8Array(data.length);
      for (let i = 0; i < sectors; i++) {
        const from = i * cipherSector;
        const own = iv.subarray(i * blockBytes, (i + 1) * blockBytes);
        const plain = data.subarray(from, from + cipherSector);
        result.set(crypto.aesCbc(key, own, "encrypt", plain), from);
      }
      return result;
    },
    decrypt(position, data) {
      const sectors = data.length / cipherSector;
      const iv = ivs(position / cipherSector, sectors);
      // What each block is combined with: the encrypted block before it, or the IV.
      const before = new Uint8Array(data.length);
      if (data.length > blockBytes)
        before.set(data.subarray(0, data.length - blockBytes), blockBytes);
      for (let i = 0; i < sectors; i++) {
        before.set(iv.subarray(i * blockBytes, (i + 1) * blockBytes), i * cipherSector);
      }
      return xor(decrypt(data), before);
    },
  };
}
