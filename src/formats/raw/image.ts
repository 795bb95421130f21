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

/** A raw image: guest offset and storage offset are the same. */
export class RawImage implements Image {
  readonly format = "raw";
  readonly storage: Storage;
  readonly clusterSize = 1;
  readonly backing = undefined;
  readonly isTransparent = true;
  readonly writer: ImageWriter | undefined;

  constructor(storage: Storage, writable: boolean) {
    this.storage = storage;
    this.writer = writable ? new RawWriter(storage as WritableStorage) : undefined;
  }

  /** The file's length rounded up to a sector; the missing bytes read as zeros. */
  get size(): number {
    return alignUp(this.storage.size, sector);
  }

  map(at: GuestOffset, end: GuestOffset, into: Runs): GuestOffset {
    const stored = lower(end, guest(this.storage.size));
    if (at < stored && !into.add(Kind.data, at, stored - at, host(at), true)) return at;
    const from = at > stored ? at : stored;
    if (from < end && !into.add(Kind.zero, from, end - from, nowhere)) return from;
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

  constructor(storage: WritableStorage) {
    this.storage = storage;
  }

  ensure(at: GuestOffset, end: GuestOffset): Promise<Change> {
    return Promise.resolve(this.change(at, end, host(at), () => Promise.resolve()));
  }

  async zero(
    at: GuestOffset,
    end: GuestOffset,
    options: { readonly unmap: boolean },
  ): Promise<Change | undefined> {
    const { storage } = this;
    if (storage.zero === undefined || !(await storage.zero(at, end - at, options))) {
      return undefined;
    }
    return this.change(at, end, nowhere, () => Promise.resolve());
  }

  discard(at: GuestOffset, end: GuestOffset): Promise<Change | undefined> {
    return this.zero(at, end, { unmap: true });
  }

  async resize(size: number, { preallocation = "off" }: ResizeOptions): Promise<void> {
    const { storage } = this;
    if (storage.truncate === undefined) {
      throw new PlatterError("E_UNSUPPORTED", `${storage.name}: its size cannot be changed`, {
        file: storage.name,
        field: "size",
        value: size,
      });
    }
    const old = storage.size;
    if (size < old && preallocation !== "off") {
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `${storage.name}: preallocation=${preallocation} cannot be used for shrinking`,
        { file: storage.name, field: "preallocation", value: preallocation },
      );
    }
    await preallocate(storage, old, size, preallocation);
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
