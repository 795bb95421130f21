import { fstatSync } from "node:fs";
import { PlatterError } from "../errors.ts";
import type {
  HostExtent,
  HostExtentOptions,
  LockMode,
  OpenDescriptor,
  Storage,
  StorageExtent,
  Volume,
} from "../storage/index.ts";
import { errno } from "./errno.ts";
import { errnoError, hostError, systemError } from "./errors.ts";
import type { Action } from "./errors.ts";
import { Extents } from "./extents.ts";
import { hostExtents } from "./fiemap.ts";
import { Advice } from "./libc.ts";
import type { Libc } from "./libc.ts";
import { FileLock, lockRequest } from "./locks.ts";
import {
  closeDescriptor,
  readFull,
  readFullSync,
  setLength,
  syncData,
  writeFull,
  writeFullSync,
} from "./positional.ts";
import { ReadBehind } from "./read-behind.ts";
import { shareBlocks } from "./share.ts";
import { volumeOf } from "./volume.ts";
import { punchHole, zeroAllocated, zeroDevice } from "./zeroing.ts";

/** A read of as many bytes takes long enough for others to come in between. */
const raceBytes = 65_536;

/** Up to so many bytes, copying them takes less time than having a thread do it. */
const smallRead = 65_536;

/**
 * One of so many small reads goes through a thread all the same: promises that are kept at once leave no time
 * for signals and timers.
 */
const readsInRow = 512;

const unsupported = -errno("EOPNOTSUPP");

/** An open descriptor and what is known about it. */
export interface OpenFile {
  /** What error messages call it. */
  readonly name: string;
  readonly path: string;
  readonly fd: number;
  readonly writable: boolean;
  readonly isDevice: boolean;
  /** Length in bytes at the moment. */
  readonly size: number;
  readonly identity: string;
  /** More of it is on the disk than fits in memory. */
  readonly isHuge?: boolean;
  /** Absent where there is no C library port: no holes, locks or preallocation. */
  readonly libc: Libc | undefined;
}

/**
 * A local file or block device. Members that need something the system or the way of opening does
 * not give are absent. Made by {@link openFile}; the provider is the usual way to one.
 */
export class FileStorage implements Storage {
  readonly name: string;
  readonly fd: number;
  readonly descriptor: OpenDescriptor;
  readonly identity: string;
  readonly isDevice: boolean;
  declare readonly write?: (offset: number, from: Uint8Array) => Promise<void>;
  declare readonly writeSync?: (offset: number, from: Uint8Array) => void;
  declare readonly flush?: () => Promise<void>;
  declare readonly truncate?: (size: number) => Promise<void>;
  declare readonly zero?: (
    offset: number,
    length: number,
    options: { readonly unmap: boolean },
  ) => Promise<boolean>;
  declare readonly share?: (
    from: Storage,
    fromOffset: number,
    offset: number,
    length: number,
  ) => Promise<boolean>;
  declare readonly allocate?: (offset: number, length: number) => Promise<void>;
  declare readonly extent?: (offset: number) => StorageExtent | undefined;

  readonly #path: string;
  readonly #libc: Libc | undefined;
  readonly #writable: boolean;
  readonly #extents: Extents | undefined;
  readonly #lock: FileLock | undefined;
  readonly #behind: ReadBehind | undefined;
  #size: number;
  #closed = false;
  #readsCached = true;
  #inRow = 0;
  #pending = 0;
  #idle: (() => void) | undefined;

  constructor(file: OpenFile) {
    const { libc } = file;
    this.name = file.name;
    this.fd = file.fd;
    this.#path = file.path;
    this.identity = file.identity;
    this.isDevice = file.isDevice;
    this.#libc = libc;
    this.#writable = file.writable;
    this.#size = file.size;
    this.descriptor = {
      number: file.fd,
      hold: () => this.#hold(),
      hasRead: (offset, length, count) => {
        this.mustReach(offset + count, offset + length);
        this.#behind?.note(offset, count);
      },
      hasWritten: () => this.refresh(),
      error: (action, offset, code) => systemError(code, action, file.name, offset),
    };
    this.#lock = libc && new FileLock(libc, file.fd, file.name);
    this.#behind =
      libc && file.isHuge === true
        ? new ReadBehind((at, length) => libc.posixFadvise(file.fd, at, length, Advice.dontNeed))
        : undefined;
    const extents = libc && !file.isDevice ? new Extents(libc, file.fd) : undefined;
    this.#extents = extents;
    if (extents) {
      this.extent = (offset) => {
        this.#mustBeOpen("inspect");
        const run = extents.at(offset, this.#size);
        // Behind a new end of the file everything looks like a hole.
        return run?.data === false && run.end === this.#size && this.#isCut() ? undefined : run;
      };
    }
    if (!file.writable) return;
    this.write = (offset, from) => this.#write(offset, from);
    this.writeSync = (offset, from) => this.#writeSync(offset, from);
    this.flush = () => this.#run("flush", undefined, () => syncData(this.fd));
    if (libc) {
      this.zero = (offset, length, { unmap }) =>
        this.#run("zero", offset, () => this.#zero(libc, offset, length, unmap));
    }
    if (file.isDevice) return;
    this.truncate = (size) => this.#run("truncate", undefined, () => this.#truncate(size));
    if (libc) {
      this.allocate = (offset, length) =>
        this.#run("allocate", offset, () => this.#allocate(libc, offset, length));
      this.share = (from, fromOffset, offset, length) =>
        this.#run("write", offset, async () => {
          if (!(from instanceof FileStorage)) return false;
          const source = { fd: from.fd, offset: fromOffset };
          if (!shareBlocks(libc, source, this.fd, this.name, offset, length)) return false;
          this.#changed(offset + length);
          return true;
        });
    }
  }

  get size(): number {
    return this.#size;
  }

  /** {@inheritDoc Storage.read} */
  read(offset: number, into: Uint8Array): Promise<number> {
    if (into.length <= smallRead && ++this.#inRow < readsInRow && this.#readCached(offset, into)) {
      return Promise.resolve(into.length);
    }
    this.#inRow = 0;
    return this.#run("read", offset, async () => {
      const count = await readFull(this.fd, into, offset);
      this.mustReach(offset + count, offset + into.length);
      this.#behind?.note(offset, count);
      return count;
    });
  }

  /**
   * Reads what is in memory already, without going through a thread, which would take twenty times as long.
   * Tells whether it has read all of it.
   */
  #readCached(offset: number, into: Uint8Array): boolean {
    if (this.#libc === undefined || !this.#readsCached || this.#closed || into.length === 0)
      return false;
    const count = this.#libc.readCached(this.fd, into, offset);
    // Not every filesystem can tell what is in memory.
    if (count === unsupported) this.#readsCached = false;
    return count === into.length && (count < raceBytes || !this.#isCut());
  }

  /** {@inheritDoc Storage.readSync} */
  readSync(offset: number, into: Uint8Array): number {
    this.#mustBeOpen("read");
    try {
      const count = readFullSync(this.fd, into, offset);
      if (count < into.length || count >= raceBytes) {
        this.mustReach(offset + count, offset + into.length);
      }
      return count;
    } catch (error) {
      throw hostError(error, "read", this.name, offset);
    }
  }

  /**
   * Throws `E_TRUNCATED` if somebody has made the file shorter, so that a read that was to go to `wanted` and
   * went to `found` has not got all, or has got zeros: a read that is under way when the file is cut may
   * see what has been cleared and not yet the new end.
   */
  mustReach(found: number, wanted: number): void {
    const end = Math.min(wanted, this.#size);
    if (this.isDevice || end <= 0) return;
    const { size } = fstatSync(this.fd);
    if (size >= this.#size || size >= end) return;
    throw new PlatterError(
      "E_TRUNCATED",
      `${this.name}: the file ends at ${Math.min(size, found)}, but had ${this.#size} bytes when it was ` +
        `opened; it has been cut short`,
      { file: this.name, offset: size, value: this.#size, qemu: "Input/output error" },
    );
  }

  /** Whether the file is shorter than it was, and not by our doing. */
  #isCut(): boolean {
    return !this.isDevice && fstatSync(this.fd).size < this.#size;
  }

  /** Bytes that the filesystem has allocated for the file; 0 for a device. */
  async allocatedBytes(): Promise<number | undefined> {
    this.#mustBeOpen("inspect");
    // Windows has no such count.
    const { blocks } = fstatSync(this.fd);
    return blocks === undefined ? undefined : blocks * 512;
  }

  /**
   * What the filesystem holds of bytes `[start, end)`: holes, reserved space, data. Undefined where
   * it cannot tell. See {@link hostExtents}.
   */
  hostExtents(
    start = 0,
    end = this.#size,
    options: HostExtentOptions = {},
  ): Iterable<HostExtent> | undefined {
    this.#mustBeOpen("inspect");
    if (this.#libc === undefined || this.isDevice) return undefined;
    return hostExtents(this.#libc, this.fd, this.name, start, end, options);
  }

  /** The filesystem that the file is on; undefined for a device. */
  async volume(): Promise<Volume | undefined> {
    this.#mustBeOpen("inspect");
    return this.isDevice ? undefined : volumeOf(this.fd, this.#path);
  }

  /** {@inheritDoc Storage.lock} */
  lock(mode: LockMode): void {
    this.#mustBeOpen("lock");
    this.#lock?.change(lockRequest(this.#writable, mode));
  }

  /** Takes note of what others wrote through the descriptor: the length, and where holes are. */
  refresh(): void {
    this.#mustBeOpen("inspect");
    this.#extents?.forget();
    if (!this.isDevice) this.#size = fstatSync(this.fd).size;
  }

  /** Waits for what is under way, then closes the descriptor, which drops the locks. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // The number of a closed descriptor is given to the next file that is opened.
    if (this.#pending > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    try {
      await closeDescriptor(this.fd);
    } catch (error) {
      throw hostError(error, "close", this.name);
    }
  }

  #mustBeOpen(action: Action): void {
    if (!this.#closed) return;
    throw new PlatterError("E_CLOSED", `${this.name}: closed already; cannot ${action} any more.`, {
      file: this.name,
    });
  }

  async #run<T>(action: Action, offset: number | undefined, work: () => Promise<T>): Promise<T> {
    this.#mustBeOpen(action);
    const release = this.#hold();
    try {
      return await work();
    } catch (error) {
      throw hostError(error, action, this.name, offset);
    } finally {
      release();
    }
  }

  /** Keeps the descriptor open until the result is called. */
  #hold(): () => void {
    this.#pending++;
    return () => {
      if (--this.#pending === 0) this.#idle?.();
    };
  }

  #changed(end: number): void {
    this.#extents?.forget();
    if (!this.isDevice && end > this.#size) this.#size = end;
  }

  async #write(offset: number, from: Uint8Array): Promise<void> {
    await this.#run("write", offset, async () => {
      // Before as well: an answer given while the write is under way must not be remembered.
      this.#extents?.forget();
      try {
        await writeFull(this.fd, from, offset);
      } catch (error) {
        // The first part of it may have been written.
        this.refresh();
        throw error;
      }
      if (from.length > 0) this.#changed(offset + from.length);
    });
  }

  #writeSync(offset: number, from: Uint8Array): void {
    this.#mustBeOpen("write");
    try {
      writeFullSync(this.fd, from, offset);
    } catch (error) {
      this.refresh();
      throw hostError(error, "write", this.name, offset);
    }
    if (from.length > 0) this.#changed(offset + from.length);
  }

  async #truncate(size: number): Promise<void> {
    // Who reads meanwhile may meet the new end already.
    this.#size = Math.min(size, this.#size);
    try {
      await setLength(this.fd, size);
    } finally {
      this.refresh();
    }
  }

  async #zero(libc: Libc, offset: number, length: number, unmap: boolean): Promise<boolean> {
    if (length === 0) return true;
    if (this.isDevice) return zeroDevice(libc, this.fd, this.name, offset, length, unmap);
    const end = offset + length;
    if (!unmap) {
      if (!zeroAllocated(libc, this.fd, this.name, offset, length)) return false;
      this.#changed(end);
      return true;
    }
    const inside = Math.min(end, this.#size) - offset;
    if (inside > 0 && !punchHole(libc, this.fd, this.name, offset, inside)) return false;
    this.#extents?.forget();
    if (end > this.#size) await this.#truncate(end);
    return true;
  }

  async #allocate(libc: Libc, offset: number, length: number): Promise<void> {
    if (length === 0) return;
    const before = this.#size;
    const result = await libc.posixFallocate(this.fd, offset, length);
    if (result === 0) {
      this.#changed(offset + length);
      return;
    }
    // What was reserved before space ran out is given back.
    if (offset + length > before) await setLength(this.fd, before);
    throw errnoError(result, "allocate", this.name, offset);
  }
}
