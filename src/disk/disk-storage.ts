import { PlatterError } from "../errors.ts";
import type { Storage } from "../storage/index.ts";
import type { Disk } from "./disk.ts";

/**
 * A disk as the storage of another image: an image inside a disk, or a window of one. Closing it
 * closes the disk.
 */
export class DiskStorage implements Storage {
  readonly name: string;
  declare readonly write?: (offset: number, from: Uint8Array) => Promise<void>;
  declare readonly flush?: () => Promise<void>;
  declare readonly truncate?: (size: number) => Promise<void>;
  private readonly disk: Disk;

  constructor(disk: Disk) {
    this.disk = disk;
    this.name = disk.name;
    if (disk.image.writer === undefined) return;
    this.write = (offset, from) => this.writeGrowing(offset, from);
    this.flush = () => disk.flush();
    this.truncate = (size) => disk.resize(sectors(size));
  }

  get size(): number {
    return this.disk.size;
  }

  /** Bytes that the host has allocated for the disk's own file. */
  allocatedBytes(): Promise<number | undefined> {
    return this.disk.image.storage.allocatedBytes?.() ?? Promise.resolve(undefined);
  }

  /** {@inheritDoc Storage.read} */
  async read(offset: number, into: Uint8Array): Promise<number> {
    const length = Math.max(0, Math.min(into.length, this.size - offset));
    await this.disk.read(Math.min(offset, this.size), into.subarray(0, length));
    return length;
  }

  close(): Promise<void> {
    return this.disk.close();
  }

  private async writeGrowing(offset: number, from: Uint8Array): Promise<void> {
    const end = offset + from.length;
    if (!Number.isSafeInteger(end)) {
      throw new PlatterError("E_FILE_TOO_LARGE", `${this.name}: ${end} is beyond 2^53 - 1`, {
        file: this.name,
        offset,
      });
    }
    if (end > this.size) await this.disk.resize(sectors(end));
    await this.disk.write(offset, from);
  }
}

/** Disks have whole sectors. */
const sectors = (size: number): number => Math.ceil(size / 512) * 512;
