import { alignDown, alignUp, type HostOffset } from "../bytes/index.ts";
import type { Storage } from "../storage/index.ts";
import { cipherSector, type SectorCipher } from "./cipher.ts";
import { RangeLock } from "./range-lock.ts";

/**
 * Guest data that is encrypted in its storage. Requests need no alignment: what they leave of a sector is
 * read, decrypted and encrypted again, and nobody else writes to that sector meanwhile.
 */
export class EncryptedData {
  private readonly storage: Storage;
  private readonly cipher: SectorCipher;
  private readonly writing = new RangeLock();

  constructor(storage: Storage, cipher: SectorCipher) {
    this.storage = storage;
    this.cipher = cipher;
  }

  /**
   * Fills `into` with what lies at `place`, which is guest byte `at`. Returns the number of bytes; fewer
   * than asked for where the storage ends.
   */
  async read(place: HostOffset, at: number, into: Uint8Array): Promise<number> {
    const start = alignDown(place, cipherSector);
    const length = alignUp(place + into.length, cipherSector) - start;
    const sectors = new Uint8Array(length);
    const count = await this.storage.read(start, sectors);
    const whole = alignDown(count, cipherSector);
    const plain = this.cipher.decrypt(this.position(start, place, at), sectors.subarray(0, whole));
    const inside = place - start;
    const found = Math.max(0, Math.min(into.length, whole - inside));
    into.set(plain.subarray(inside, inside + found));
    return found;
  }

  /** Writes `from` at `place`, which is guest byte `at`. */
  async write(place: HostOffset, at: number, from: Uint8Array): Promise<void> {
    if (from.length === 0) return;
    const start = alignDown(place, cipherSector);
    const end = alignUp(place + from.length, cipherSector);
    const { release } = await this.writing.claim(start, end);
    try {
      const position = this.position(start, place, at);
      let plain = from;
      if (end - start !== from.length) {
        plain = new Uint8Array(end - start);
        const inside = place - start;
        if (inside > 0) await this.readSector(start, position, plain, 0);
        const last = plain.length - cipherSector;
        const cutsLast = inside + from.length < plain.length;
        if (cutsLast && (last > 0 || inside === 0)) {
          await this.readSector(start + last, position + last, plain, last);
        }
        plain.set(from, inside);
      }
      await this.storage.write!(start, this.cipher.encrypt(position, plain));
    } finally {
      release();
    }
  }

  /** What a sector holds that is going to be changed in part; behind the end of the storage anything. */
  private async readSector(
    place: number,
    position: number,
    into: Uint8Array,
    at: number,
  ): Promise<void> {
    const sector = new Uint8Array(cipherSector);
    await this.storage.read(place, sector);
    into.set(this.cipher.decrypt(position, sector), at);
  }

  /** The position by which the sector at `start` is encrypted. */
  private position(start: number, place: number, at: number): number {
    return this.cipher.counts === "host" ? start : at - (place - start);
  }
}
