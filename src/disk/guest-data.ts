import type { GuestOffset, HostOffset } from "../bytes/index.ts";
import type { Codec, Codecs } from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import type { Storage } from "../storage/index.ts";
import { ClusterCache } from "./cluster-cache.ts";
import { EncryptedData } from "./encrypted-data.ts";
import type { Image } from "./image.ts";

/** The bytes that an image's mapping points to: plain or encrypted ones, and compressed clusters. */
export class GuestData {
  /** Where they lie. */
  readonly storage: Storage;
  private readonly image: Image;
  private readonly codecs: Codecs | undefined;
  private codec: Codec | undefined;
  private readonly unpacked: ClusterCache;
  private readonly encrypted: EncryptedData | undefined;

  constructor(image: Image, codecs: Codecs | undefined) {
    this.image = image;
    this.codecs = codecs;
    this.storage = image.dataStorage ?? image.storage;
    this.unpacked = new ClusterCache(image.clusterSize);
    this.encrypted = image.cipher && new EncryptedData(this.storage, image.cipher);
  }

  /** Whether they are encrypted; compressed clusters are not. */
  get isEncrypted(): boolean {
    return this.encrypted !== undefined;
  }

  /** Fills `into` with the guest bytes from `at` on, which are at `host`. Throws `E_TRUNCATED`. */
  async read(host: HostOffset, at: GuestOffset, into: Uint8Array): Promise<void> {
    if (host + into.length > Number.MAX_SAFE_INTEGER) throw this.truncated(host, into.length, 0);
    const count =
      this.encrypted === undefined
        ? await this.storage.read(host, into)
        : await this.encrypted.read(host, at, into);
    if (count < into.length) throw this.truncated(host, into.length, count);
  }

  /** Writes the guest bytes from `at` on to `host`. Throws `E_TRUNCATED` where no file reaches. */
  async write(host: HostOffset, at: GuestOffset, from: Uint8Array): Promise<void> {
    if (host + from.length > Number.MAX_SAFE_INTEGER) throw this.truncated(host, from.length, 0);
    if (this.encrypted !== undefined) return this.encrypted.write(host, at, from);
    return this.storage.write!(host, from);
  }

  /** The contents of the compressed cluster at `host`. */
  async unpack(host: HostOffset, packedLength: number): Promise<Uint8Array> {
    const cached = this.unpacked.get(host);
    if (cached !== undefined) return cached;
    const codec = await this.loadCodec(host);
    const packed = new Uint8Array(this.packedInside(host, packedLength));
    const count = await this.image.storage.read(host, packed);
    const cluster = new Uint8Array(this.image.clusterSize);
    try {
      codec.decompress(packed.subarray(0, count), cluster);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw this.damaged(host, packedLength, reason, error);
    }
    this.unpacked.set(host, cluster);
    return cluster;
  }

  /** Clusters are about to get other contents: nothing unpacked is kept. */
  forgetUnpacked(): void {
    this.unpacked.clear();
  }

  /**
   * How many of `packedLength` bytes at `host` there are: the last sector of packed data need not be
   * there in full. Throws `E_TRUNCATED` when there are none.
   */
  packedInside(host: number, packedLength: number): number {
    const length = Math.max(0, Math.min(packedLength, this.image.storage.size - host));
    if (length === 0) throw this.truncated(host, packedLength, 0);
    return length;
  }

  /** The codec of the image, for the cluster at `host`. Throws `E_CODEC`. */
  async loadCodec(host: number): Promise<Codec> {
    const type = this.image.compression;
    if (type !== undefined) this.codec ??= await this.codecs?.load(type);
    if (this.codec !== undefined) return this.codec;
    const { name } = this.image.storage;
    throw new PlatterError(
      "E_CODEC",
      `${name}: the cluster at ${host} is compressed (${String(type)}) and no codec is at hand`,
      { file: name, offset: host },
    );
  }

  /** The error for a compressed cluster that cannot be decompressed. */
  damaged(host: number, packedLength: number, reason: string, cause?: unknown): PlatterError {
    const { name } = this.image.storage;
    return new PlatterError(
      "E_CODEC",
      `${name}: the compressed cluster at ${host} (${packedLength} bytes) cannot be ` +
        `decompressed: ${reason}`,
      { file: name, offset: host, cause },
    );
  }

  /** The error for a storage that ends inside what the mapping says is there. */
  truncated(host: number, wanted: number, count: number): PlatterError {
    const file = this.storage.name;
    return new PlatterError(
      "E_TRUNCATED",
      `${file}: guest data at ${host} to ${host + wanted} ends after the end of the file ` +
        `(${Math.min(host + count, this.storage.size)}); the file has been cut short`,
      { file, offset: host },
    );
  }
}
