import {
  alignUp,
  guest,
  host,
  lower,
  type GuestOffset,
  type HostOffset,
} from "../../bytes/index.ts";
import {
  Kind,
  nowhere,
  type Change,
  type Image,
  type ImageWriter,
  type ResizeOptions,
  type Runs,
} from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Storage, WritableStorage } from "../../storage/index.ts";
import { preallocate } from "./preallocate.ts";

/** Guest disks are whole sectors, whatever the file's length. */
const sector = 512;

/** The part of a storage that a raw image is; by default all of it. */
export interface RawWindow {
  /** Storage offset of the guest's first byte. */
  readonly offset: number;
  /** Bytes, a multiple of 512. Absent: up to the end of the storage. */
  readonly size?: number | undefined;
}

const wholeStorage: RawWindow = { offset: 0 };

/** A raw image: guest offsets are storage offsets, shifted where it is a window of the storage. */
export class RawImage implements Image {
  readonly format = "raw";
  readonly storage: Storage;
  readonly clusterSize = 1;
  readonly backing = undefined;
  readonly isTransparent = true;
  readonly writer: ImageWriter | undefined;
  private readonly window: RawWindow;

  constructor(storage: Storage, writable: boolean, window: RawWindow = wholeStorage) {
    this.storage = storage;
    this.window = window;
    this.writer = writable ? new RawWriter(storage as WritableStorage, window) : undefined;
  }

  /** The window's length, or the rest of the file's rounded up to a sector; what is missing is zeros. */
  get size(): number {
    const { offset, size } = this.window;
    return size ?? alignUp(Math.max(0, this.storage.size - offset), sector);
  }

  map(at: GuestOffset, end: GuestOffset, into: Runs): GuestOffset {
    const { offset } = this.window;
    const stored = lower(end, guest(Math.max(0, this.storage.size - offset)));
    if (at < stored && !into.add(Kind.data, at, stored - at, host(at + offset), true)) return at;
    const from = at > stored ? at : stored;
    // The place where the bytes would be: they are part of the file's end.
    if (from < end && !into.add(Kind.zero, from, end - from, host(from + offset))) return from;
    return end;
  }

  load(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Writing a raw image needs no change of any mapping; only the storage is asked for favours. */
class RawWriter implements ImageWriter {
  private readonly storage: WritableStorage;
  private readonly window: RawWindow;

  constructor(storage: WritableStorage, window: RawWindow) {
    this.storage = storage;
    this.window = window;
  }

  ensure(at: GuestOffset, end: GuestOffset): Promise<Change> {
    return Promise.resolve(
      this.change(at, end, host(at + this.window.offset), () => Promise.resolve()),
    );
  }

  async zero(
    at: GuestOffset,
    end: GuestOffset,
    options: { readonly unmap: boolean },
  ): Promise<Change | undefined> {
    const { storage } = this;
    const place = at + this.window.offset;
    if (storage.zero === undefined || !(await storage.zero(place, end - at, options))) {
      return undefined;
    }
    return this.change(at, end, nowhere, () => Promise.resolve());
  }

  discard(at: GuestOffset, end: GuestOffset): Promise<Change | undefined> {
    return this.zero(at, end, { unmap: true });
  }

  async resize(size: number, { preallocation = "off" }: ResizeOptions): Promise<void> {
    const { storage, window } = this;
    if (storage.truncate === undefined || window.size !== undefined) {
      throw new PlatterError("E_UNSUPPORTED", `${storage.name}: its size cannot be changed`, {
        file: storage.name,
        field: "size",
        value: size,
        ...(window.size !== undefined && { qemu: "Cannot resize fixed-size raw disks" }),
      });
    }
    const old = storage.size;
    const length = size + window.offset;
    if (length < old && preallocation !== "off") {
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `${storage.name}: preallocation=${preallocation} cannot be used for shrinking`,
        { file: storage.name, field: "preallocation", value: preallocation },
      );
    }
    await preallocate(storage, old, length, preallocation);
  }

  flush(): Promise<void> {
    return this.storage.flush();
  }

  private change(
    start: GuestOffset,
    end: GuestOffset,
    place: HostOffset,
    commit: () => Promise<void>,
  ): Change {
    return { start, end, host: place, edges: [], commit, abort: () => Promise.resolve() };
  }
}
