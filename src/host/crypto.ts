import {
  createCipheriv,
  createDecipheriv,
  createHash,
  getHashes,
  pbkdf2,
  randomBytes,
} from "node:crypto";
import { promisify } from "node:util";
import type { Crypto } from "../codec/index.ts";

const derive = promisify(pbkdf2);
const hashes = new Set(getHashes());
/** Names that LUKS and Node spell differently. */
const hashName = (name: string): string => (name === "ripemd160" ? "rmd160" : name);

/** {@link Crypto} by `node:crypto`. */
export const nodeCrypto: Crypto = {
  aes(key, direction) {
    const name = `aes-${key.length * 8}-ecb`;
    const cipher =
      direction === "encrypt" ? createCipheriv(name, key, null) : createDecipheriv(name, key, null);
    cipher.setAutoPadding(false);
    // Blocks do not depend on one another, so one cipher serves all calls.
    return (blocks) => cipher.update(blocks);
  },
  aesCbc(key, iv, direction, data) {
    const name = `aes-${key.length * 8}-cbc`;
    const cipher =
      direction === "encrypt" ? createCipheriv(name, key, iv) : createDecipheriv(name, key, iv);
    cipher.setAutoPadding(false);
    return cipher.update(data);
  },
  hasHash: (name) => hashes.has(hashName(name)),
  hash: (name, data) => createHash(hashName(name)).update(data).digest(),
  pbkdf2: ({ hash, password, salt, iterations, length }) =>
    derive(password, salt, iterations, length, hashName(hash)),
  random: (length) => randomBytes(length),
};
