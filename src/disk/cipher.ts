/** Bytes that are encrypted together. */
export const cipherSector = 512;

/** How guest data is encrypted where it lies: by sectors of 512 bytes, each by its position. */
export interface SectorCipher {
  /** What a sector's position is counted by: where it lies in the storage, or in the guest's disk. */
  readonly counts: "host" | "guest";
  /** Decrypts whole sectors, the first of which is at byte `position`. */
  decrypt(position: number, data: Uint8Array): Uint8Array;
  /** Encrypts whole sectors, the first of which is at byte `position`. */
  encrypt(position: number, data: Uint8Array): Uint8Array;
}
