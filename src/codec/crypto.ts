/** Turns whole blocks of 16 bytes into as many others, each by itself (ECB). */
export type BlockCipher = (blocks: Uint8Array) => Uint8Array;

/**
 * What encrypted images need of cryptography. Node fills it from `node:crypto`; where there is none,
 * encrypted images cannot be used.
 */
export interface Crypto {
  /** AES over whole blocks in one direction. `key` has 16, 24 or 32 bytes. */
  aes(key: Uint8Array, direction: "encrypt" | "decrypt"): BlockCipher;
  /** AES in CBC mode over whole blocks, without padding. */
  aesCbc(
    key: Uint8Array,
    iv: Uint8Array,
    direction: "encrypt" | "decrypt",
    data: Uint8Array,
  ): Uint8Array;
  /** Whether there is a hash of that name: sha1, sha256 and so on. */
  hasHash(name: string): boolean;
  hash(name: string, data: Uint8Array): Uint8Array;
  /** PBKDF2 with HMAC (RFC 8018). */
  pbkdf2(options: {
    readonly hash: string;
    readonly password: Uint8Array;
    readonly salt: Uint8Array;
    readonly iterations: number;
    readonly length: number;
  }): Promise<Uint8Array>;
  /** Random bytes that nobody can guess. */
  random(length: number): Uint8Array;
}
