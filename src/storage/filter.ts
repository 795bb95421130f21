import type { Storage, StorageExtent } from "./storage.ts";

/** A call of one of the methods of {@link Storage} that move or change bytes. */
export type StorageCall =
  | { readonly kind: "read"; readonly offset: number; readonly length: number }
  | StorageChange
  | { readonly kind: "flush" };

/** A {@link StorageCall} after which the storage is another. */
export type StorageChange =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly size: number }
  | {
      readonly kind: "zero";
      readonly offset: number;
      readonly length: number;
      readonly unmap: boolean;
    }
  | { readonly kind: "allocate"; readonly offset: number; readonly length: number };

/**
 * A storage in front of another. It has exactly the capabilities of the one behind it, and shows
 * every call to {@link FilterStorage.around} and {@link FilterStorage.aroundSync}, which subclasses
 * override.
 */
export abstract class FilterStorage implements Storage {
  protected readonly inner: Storage;

  declare readonly write?: (offset: number, from: Uint8Array) => Promise<void>;
  declare readonly flush?: () => Promise<void>;
  declare readonly truncate?: (size: number) => Promise<void>;
  declare readonly readSync?: (offset: number, into: Uint8Array) => number;
  declare readonly writeSync?: (offset: number, from: Uint8Array) => void;
  declare readonly zero?: (
    offset: number,
    length: number,
    options: { readonly unmap: boolean },
  ) => Promise<boolean>;
  declare readonly allocate?: (offset: number, length: number) => Promise<void>;
  declare readonly extent?: (offset: number) => StorageExtent | undefined;
  declare readonly allocatedBytes?: () => Promise<number | undefined>;
  declare readonly identity?: string | undefined;
  declare readonly alignment?: number;
  declare readonly isDevice?: boolean;

  constructor(inner: Storage) {
    this.inner = inner;
    if (inner.write) {
      this.write = (offset, bytes) =>
        this.around({ kind: "write", offset, bytes }, () => inner.write!(offset, bytes));
    }
    if (inner.flush) this.flush = () => this.around({ kind: "flush" }, () => inner.flush!());
    if (inner.truncate) {
      this.truncate = (size) =>
        this.around({ kind: "truncate", size }, () => inner.truncate!(size));
    }
    if (inner.readSync) {
      this.readSync = (offset, into) =>
        this.aroundSync({ kind: "read", offset, length: into.length }, () =>
          inner.readSync!(offset, into),
        );
    }
    if (inner.writeSync) {
      this.writeSync = (offset, bytes) =>
        this.aroundSync({ kind: "write", offset, bytes }, () => inner.writeSync!(offset, bytes));
    }
    if (inner.zero) {
      this.zero = (offset, length, options) =>
        this.around({ kind: "zero", offset, length, unmap: options.unmap }, () =>
          inner.zero!(offset, length, options),
        );
    }
    if (inner.allocate) {
      this.allocate = (offset, length) =>
        this.around({ kind: "allocate", offset, length }, () => inner.allocate!(offset, length));
    }
    if (inner.extent) this.extent = (offset) => inner.extent!(offset);
    if (inner.allocatedBytes) this.allocatedBytes = () => inner.allocatedBytes!();
    if (inner.identity !== undefined) this.identity = inner.identity;
    if (inner.alignment !== undefined) this.alignment = inner.alignment;
    if (inner.isDevice !== undefined) this.isDevice = inner.isDevice;
  }

  get name(): string {
    return this.inner.name;
  }

  get size(): number {
    return this.inner.size;
  }

  read(offset: number, into: Uint8Array): Promise<number> {
    return this.around({ kind: "read", offset, length: into.length }, () =>
      this.inner.read(offset, into),
    );
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  /** Gets each asynchronous call, and `run`, which carries it out. */
  protected abstract around<T>(call: StorageCall, run: () => Promise<T>): Promise<T>;

  /** Gets each synchronous call, and `run`, which carries it out. */
  protected abstract aroundSync<T>(call: StorageCall, run: () => T): T;
}
