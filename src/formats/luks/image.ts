import { guest, host, lower, type GuestOffset, type HostOffset } from "../../bytes/index.ts";
import {
  Kind,
  type AmendOptions,
  type Change,
  type Image,
  type ImageWriter,
  type ResizeOptions,
  type Runs,
  type SectorCipher,
} from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Storage, WritableStorage } from "../../storage/index.ts";
import { luksDetails, readLuksHeader } from "../luks-volume.ts";
import type { AmendKeys } from "../luks-amend.ts";
import type { LuksHeader } from "../luks-header.ts";

/** What changing keys takes besides the volume. */
type VolumeKeys = Pick<AmendKeys, "storage" | "services" | "keySecret">;

/** A LUKS volume: a header with keys, and behind it the disk, encrypted sector by sector. */
export class LuksImage implements Image {
  readonly format = "luks";
  readonly storage: Storage;
  readonly clusterSize = 1;
  readonly backing = undefined;
  readonly isEncrypted = true;
  readonly cipher: SectorCipher | undefined;
  readonly writer: ImageWriter | undefined;
  private readonly payload: number;
  /** As it is now: keys come and go. */
  private header: LuksHeader;
  private readonly keys: VolumeKeys | undefined;

  /** Without a cipher, the volume can be looked at and not be read. */
  constructor(
    storage: Storage,
    header: LuksHeader,
    cipher: SectorCipher | undefined,
    writable: boolean,
    keys?: VolumeKeys,
  ) {
    this.header = header;
    this.keys = keys;
    this.storage = storage;
    this.cipher = cipher;
    this.payload = header.payloadOffset;
    this.writer = writable
      ? new LuksWriter(storage as WritableStorage, header.payloadOffset)
      : undefined;
  }

  get size(): number {
    const bytes = Math.max(0, this.storage.size - this.payload);
    return bytes - (bytes % 512);
  }

  get details(): Readonly<Record<string, unknown>> {
    return luksDetails(this.header);
  }

  /** Adds and erases keys. */
  async amend({ values, force = false }: AmendOptions): Promise<void> {
    const { amendKeys } = await import("../luks-amend.ts");
    if (this.keys === undefined) {
      const file = this.storage.name;
      throw new PlatterError("E_READ_ONLY", `${file}: the image is open for reading only`, {
        file,
      });
    }
    const { keys, header } = this;
    const changed = amendKeys({ ...keys, prefix: "", offset: 0, header, force }, values);
    // Where it fails half-way, some of the keys may be others already.
    this.header = await changed.catch(async (error: unknown) => {
      this.header = await readLuksHeader({ storage: this.storage, offset: 0 }).catch(() => header);
      throw error;
    });
  }

  map(at: GuestOffset, end: GuestOffset, into: Runs): GuestOffset {
    const inside = lower(end, guest(this.size));
    if (at < inside && !into.add(Kind.data, at, inside - at, host(at + this.payload), true)) {
      return at;
    }
    const from = at > inside ? at : inside;
    if (from < end && !into.add(Kind.zero, from, end - from)) return from;
    return end;
  }

  load(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Everything has its place already; zeros are written, for their bytes differ in each sector. */
class LuksWriter implements ImageWriter {
  private readonly storage: WritableStorage;
  private readonly payload: number;

  constructor(storage: WritableStorage, payload: number) {
    this.storage = storage;
    this.payload = payload;
  }

  ensure(at: GuestOffset, end: GuestOffset): Promise<Change> {
    const place: HostOffset = host(at + this.payload);
    const done = (): Promise<void> => Promise.resolve();
    return Promise.resolve({ start: at, end, host: place, edges: [], commit: done, abort: done });
  }

  zero(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  discard(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async resize(size: number, { preallocation = "off" }: ResizeOptions): Promise<void> {
    const { storage, payload } = this;
    const file = storage.name;
    const refuse = (qemu: string): PlatterError =>
      new PlatterError("E_UNSUPPORTED", `${file}: its size cannot be changed so: ${qemu}`, {
        file,
        field: "size",
        value: size,
        qemu,
      });
    if (storage.truncate === undefined) throw refuse("Cannot resize device files");
    if (preallocation === "metadata") {
      throw refuse("Unsupported preallocation mode 'metadata'");
    }
    const old = storage.size;
    await storage.truncate(size + payload);
    if (size + payload <= old || preallocation === "off") return;
    if (preallocation === "falloc" && storage.allocate !== undefined) {
      await storage.allocate(old, size + payload - old);
    }
  }

  flush(): Promise<void> {
    return this.storage.flush();
  }
}
