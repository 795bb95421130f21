import { divideUp, type GuestOffset, type HostOffset } from "../../bytes/index.ts";
import {
  Leases,
  type AmendOptions,
  type BackingReference,
  type Bitmaps,
  type CheckImageOptions,
  type CheckReport,
  type Image,
  type Layout,
  type LayoutOptions,
  type RepairImageOptions,
  type RepairReport,
  type Runs,
  type SectorCipher,
  type SnapshotInfo,
  type Snapshots,
} from "../../disk/index.ts";
import type { CompressionType } from "../../codec/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Storage } from "../../storage/index.ts";
import type { Qcow2Bitmaps } from "./bitmap-list.ts";
import { Checker } from "./check.ts";
import { dataFileOf } from "./data-file.ts";
import { compatible, incompatible } from "./features.ts";
import { compressionTypes } from "./header.ts";
import { Qcow2Mapping } from "./mapping.ts";
import { WritableMetadata, type Metadata } from "./metadata.ts";
import { Qcow2Writer } from "./writer.ts";

/** An opened qcow2 image. */
export class Qcow2Image implements Image {
  readonly format = "qcow2";
  readonly storage: Storage;
  readonly dataStorage: Storage | undefined;
  readonly clusterSize: number;
  readonly subclusterSize: number;
  readonly backing: BackingReference | undefined;
  readonly cipher: SectorCipher | undefined;
  readonly compression: CompressionType;
  readonly writer: Qcow2Writer | undefined;
  /** Tables and counts, for `check` and whoever else looks at the structure itself. */
  readonly metadata: Metadata;
  private readonly mapping: Qcow2Mapping;
  private readonly leases = new Leases();
  /** The bitmaps, once they are loaded. */
  private loadedBitmaps: Qcow2Bitmaps | undefined;
  private loadingBitmaps: Promise<Qcow2Bitmaps> | undefined;

  /** With a {@link WritableMetadata}, the image can be written. */
  constructor(metadata: Metadata, backing: BackingReference | undefined) {
    this.metadata = metadata;
    this.storage = metadata.storage;
    this.dataStorage = metadata.dataFile?.storage;
    this.clusterSize = metadata.geometry.clusterSize;
    this.subclusterSize = metadata.geometry.subclusterSize;
    this.backing = backing;
    this.cipher = metadata.encryption?.cipher;
    this.compression = compressionTypes[metadata.header.fields.compression_type]!;
    this.mapping = new Qcow2Mapping(metadata);
    this.writer =
      metadata instanceof WritableMetadata
        ? new Qcow2Writer(metadata, this.leases, backing !== undefined)
        : undefined;
  }

  get isEncrypted(): boolean {
    return this.metadata.encryption !== undefined;
  }

  get size(): number {
    return this.metadata.diskSize;
  }

  /** The format-specific part of `info`, with QEMU's names and order. */
  get details(): Readonly<Record<string, unknown>> {
    const { fields } = this.metadata.header;
    const { encryption } = this.metadata;
    const encrypt = encryption && { encrypt: encryption.details };
    if (fields.version === 2)
      return { compat: "0.10", "compression-type": "zlib", "refcount-bits": 16, ...encrypt };
    const dataFile = dataFileOf(this.metadata.header);
    return {
      compat: "1.1",
      "compression-type": this.compression,
      "lazy-refcounts": (fields.compatible_features & compatible.lazyRefcounts) !== 0n,
      ...this.loadedBitmaps?.details,
      "refcount-bits": this.metadata.geometry.refcountBits,
      ...encrypt,
      ...(dataFile?.name !== undefined && { "data-file": dataFile.name }),
      ...(dataFile !== undefined && { "data-file-raw": dataFile.raw }),
      corrupt: (fields.incompatible_features & incompatible.corrupt) !== 0n,
      "extended-l2": this.metadata.geometry.hasSubclusters,
    };
  }

  /** Whether the image was not closed cleanly, so that its refcounts cannot be trusted. */
  get isDirty(): boolean {
    return (this.metadata.header.fields.incompatible_features & incompatible.dirty) !== 0n;
  }

  map(at: GuestOffset, end: GuestOffset, into: Runs): GuestOffset {
    return this.mapping.map(at, end, into);
  }

  load(at: GuestOffset, forChange = false): Promise<void> {
    return this.mapping.load(at, forChange);
  }

  beforeOverwrite(host: HostOffset, length: number): Promise<void> | undefined {
    const { metadata } = this;
    // In a file of its own there is nothing but data.
    if (metadata.hasDataFile || !(metadata instanceof WritableMetadata)) return undefined;
    return metadata.overlap.prevent(host, length);
  }

  lease(): () => void {
    return this.leases.take();
  }

  /** {@inheritDoc Image.bitmapBytes} Only version 3 has them. */
  get bitmapBytes(): ((clusterSize: number) => Promise<number>) | undefined {
    if (this.metadata.header.fields.version < 3) return undefined;
    return async (clusterSize) => {
      const { sizeOfBitmaps } = await import("./measure.ts");
      return sizeOfBitmaps((await this.loadBitmaps()).list(), this.size, clusterSize);
    };
  }

  /** Compares the clusters in use with what the host has allocated, by QEMU's rule of thumb. */
  async mapsHoles(): Promise<boolean> {
    const allocated = await this.storage.allocatedBytes?.();
    if (allocated === undefined) return false;
    const refcounts = await this.metadata.loadRefcounts();
    const clusters = Math.floor(allocated / this.clusterSize);
    const threshold = Math.max(Math.floor((clusters * 10) / 9), clusters + 2);
    const end = divideUp(this.storage.size, this.clusterSize);
    let used = 0;
    for (let i = 0; i < end && used < threshold; i++) {
      // With refcounts that cannot be read it is not known, and it need not be.
      const block = refcounts.blockOffset(i);
      if (block % this.clusterSize !== 0 || block + this.clusterSize > this.storage.size)
        return false;
      if ((refcounts.cachedCount(i) ?? (await refcounts.count(i))) !== 0) used++;
    }
    return used >= threshold;
  }

  async check(options: CheckImageOptions): Promise<CheckReport> {
    await this.metadata.loadRefcounts();
    return new Checker(this.metadata, options).run();
  }

  async repair(options: RepairImageOptions): Promise<RepairReport> {
    const { metadata, writer } = this;
    const { repair } = await import("./repair.ts");
    let report: RepairReport | undefined;
    if (writer === undefined || !(metadata instanceof WritableMetadata)) {
      const file = this.storage.name;
      throw new PlatterError("E_READ_ONLY", `${file}: the image is open for reading only`, {
        file,
      });
    }
    await writer.exclusively(async () => {
      report = await repair(metadata, options);
    });
    return report!;
  }

  async layout(options: LayoutOptions): Promise<Layout> {
    const { layoutOf } = await import("./layout.ts");
    return layoutOf(this.metadata, options);
  }

  bitmaps(): Promise<Bitmaps> {
    return this.loadBitmaps();
  }

  get snapshotList(): readonly SnapshotInfo[] {
    return this.metadata.snapshots.entries;
  }

  async snapshots(): Promise<Snapshots> {
    const { Qcow2Snapshots } = await import("./snapshots.ts");
    const { writer, leases } = this;
    return new Qcow2Snapshots(
      this.metadata,
      writer && {
        exclusively: (task) => writer.exclusively(task),
        leases,
        bitmaps: () => writer.bitmaps,
      },
    );
  }

  async amend(options: AmendOptions): Promise<void> {
    const { amend } = await import("./amend.ts");
    await amend(this, options);
  }

  /** Reads the bitmaps; on an image that is open for writing they are in use from then on. */
  async loadBitmaps(): Promise<Qcow2Bitmaps> {
    this.loadingBitmaps ??= this.readBitmaps();
    return this.loadingBitmaps;
  }

  private async readBitmaps(): Promise<Qcow2Bitmaps> {
    const { Qcow2Bitmaps: List } = await import("./bitmap-list.ts");
    const { writer } = this;
    const loaded = await List.load(this.metadata, (task) => writer!.exclusively(task));
    if (writer !== undefined) writer.bitmaps = loaded;
    this.loadedBitmaps = loaded;
    return loaded;
  }

  changing(start: number, end: number): void {
    this.loadedBitmaps?.record(start, end);
  }

  async close(): Promise<void> {
    await this.writer?.close();
  }
}
