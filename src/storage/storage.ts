import type { HostExtent, HostExtentOptions, Volume } from "./host-extents.ts";

/**
 * The bytes of one image file, wherever they live.
 *
 * Four members are enough for a storage that can be read. Everything else is a capability: a
 * storage that lacks it leaves the member out, and callers ask for the member, never for the kind
 * of storage.
 *
 * Offsets and lengths are bytes. Every method may reject with a {@link PlatterError} that names the
 * storage; other errors reach the caller of the library as they are.
 */
export interface Storage {
  /** What error messages call it: the path as the user gave it, or a description. */
  readonly name: string;
  /** Current length in bytes. Follows writes past the end and truncation at once. */
  readonly size: number;
  /**
   * Fills `into` from `offset` on and resolves to the number of bytes read, which is less than
   * `into.length` only at the end of the storage.
   */
  read(offset: number, into: Uint8Array): Promise<number>;
  /** Releases descriptors and locks. Called once; closing does not flush. */
  close(): Promise<void>;

  /** Writes all of `from` at `offset`; grows the storage when needed. Absent: read-only. */
  write?(offset: number, from: Uint8Array): Promise<void>;
  /** Resolves when everything written so far is on stable storage. */
  flush?(): Promise<void>;
  /** Cuts or grows to `size`; the grown part reads as zeros. Absent: fixed size (a device). */
  truncate?(size: number): Promise<void>;

  /** As {@link Storage.read}, without leaving the thread. Far faster where pages are cached. */
  readSync?(offset: number, into: Uint8Array): number;
  /** As {@link Storage.write}, without leaving the thread. */
  writeSync?(offset: number, from: Uint8Array): void;

  /**
   * Makes the range read as zeros without transferring them. With `unmap`, space may be given
   * back; without, it stays (or becomes) allocated. Resolves to false, having changed nothing, when
   * the host cannot do it.
   */
  zero?(offset: number, length: number, options: { readonly unmap: boolean }): Promise<boolean>;
  /**
   * Has `length` bytes from `offset` on share the blocks that `from` has from `fromOffset` on: a copy that takes
   * neither time nor space. Resolves to false, having changed nothing, when these two cannot; offsets and
   * lengths have to be whole blocks.
   */
  share?(from: Storage, fromOffset: number, offset: number, length: number): Promise<boolean>;
  /** Reserves space for the range (`fallocate`): unwritten extents that read as zeros. */
  allocate?(offset: number, length: number): Promise<void>;
  /**
   * The run of data, or hole, that `offset` lies in: up to which offset it reaches, and whether
   * there may be data. Undefined where the host cannot tell; all is data then.
   */
  extent?(offset: number): StorageExtent | undefined;
  /** Bytes that the host has allocated (`stat` blocks × 512). Undefined when it cannot tell. */
  allocatedBytes?(): Promise<number | undefined>;
  /**
   * What the filesystem holds of bytes `[start, end)`, by default of all: holes, reserved space,
   * data, in order and without gaps. Undefined where it cannot tell.
   */
  hostExtents?(
    start?: number,
    end?: number,
    options?: HostExtentOptions,
  ): Iterable<HostExtent> | undefined;
  /** The filesystem that the storage is on. Undefined where there is none or it cannot tell. */
  volume?(): Promise<Volume | undefined>;

  /**
   * Changes what others may do with the storage from now on. QEMU locks an image only when it knows
   * its format (`info` of a raw image locks nothing), so an opener can start with `none`, probe, and
   * then ask for what it needs. Throws `E_LOCKED`, keeping the locks held before.
   */
  lock?(mode: LockMode): void;

  /**
   * Two storages with the same identity are the same bytes (device and inode of a file). Undefined
   * or absent when that cannot be known.
   */
  readonly identity?: string | undefined;
  /** Offsets and lengths have to be multiples of this (direct I/O). Absent: 1. */
  readonly alignment?: number;
  /** The open file, for other threads. Absent: only this object reaches the bytes, or changes them on the way. */
  readonly descriptor?: OpenDescriptor;
  /** A device has a fixed size and is never created, replaced or removed. Absent: a file. */
  readonly isDevice?: boolean;
}

/**
 * What others may do while a storage is open. `exclusive`: nothing that conflicts with us (QEMU's
 * default); `shared`: as `qemu-img -U`, others may write; `shared-resize`: that, by who is going to change
 * the size, which others may forbid; `none`: no lock is taken at all.
 */
export type LockMode = "exclusive" | "shared" | "shared-resize" | "none";

/** A run of a storage, up to `end` (exclusive), that is all data or all hole. */
export interface StorageExtent {
  readonly end: number;
  readonly data: boolean;
}

/** A storage that has what writing needs. */
export type WritableStorage = Storage & Required<Pick<Storage, "write" | "flush">>;

/** An open file, for those who read and write it by themselves. */
export interface OpenDescriptor {
  /** What the system calls it. */
  readonly number: number;
  /** Keeps it open until the result is called. */
  hold(): () => void;
  /**
   * Somebody has read `count` of the `length` bytes from `offset` on. Throws `E_TRUNCATED` as {@link Storage.read}
   * does.
   */
  hasRead(offset: number, length: number, count: number): void;
  /** Somebody is going to write, or has written. */
  hasWritten(): void;
  /** The error for what the system answered, by its symbolic name. */
  error(action: "read" | "write", offset: number, code: string): Error;
}
