import { alignDown, host, type HostOffset } from "../../bytes/index.ts";
import type { BackingReference, SectorCipher } from "../../disk/index.ts";
import type { Storage, WritableStorage } from "../../storage/index.ts";
import type { FormatOptionValues } from "../format.ts";
import { Allocator } from "./allocator.ts";
import { Corruption } from "./corruption.ts";
import type { DataFile } from "./data-file.ts";
import { incompatible } from "./features.ts";
import { Geometry, entrySize, type QemuCache } from "./geometry.ts";
import { ExtensionType, type Extension } from "./extensions.ts";
import {
  encodeHeader,
  headerStructure,
  version2Length,
  type Header,
  type HeaderFields,
} from "./header.ts";
import { address, invalid } from "./invalid.ts";
import { L1Table, readL1Table } from "./l1-table.ts";
import { OverlapGuard, overlapTemplates } from "./overlap.ts";
import { Refcounts, readRefcountTable } from "./refcounts.ts";
import type { SnapshotTable } from "./snapshot-table.ts";
import { TableCache, type Table } from "./tables.ts";
import { WriteBack, encodeEntries } from "./write-back.ts";

/** Disks are whole sectors. */
const sector = 512;
/** Bytes of L2 tables kept in memory unless the caller says otherwise: QEMU's default. */
const defaultL2Budget = 32 * 1024 * 1024;

/** Bytes of L2 tables that are read at once for those who go through all of them. */
const bytesAhead = 1024 * 1024;

/** How metadata is loaded. */
export interface MetadataOptions {
  readonly l2Budget?: number;
  /** What the user says of QEMU's cache, see {@link Geometry.sliceEntries}. */
  readonly qemuCache?: QemuCache | undefined;
  /** Bytes of refcount blocks kept in memory. */
  readonly refcountBudget?: number | undefined;
  /** Receives what QEMU says on stderr of damage that is found on the way. */
  readonly onCorruption?: ((message: string) => void) | undefined;
  /** The file with the guest's data, where that is not the image itself. */
  readonly dataFile?: DataFile | undefined;
  readonly snapshots?: SnapshotTable | undefined;
  /** How guest data is encrypted, if it is. */
  readonly encryption?: ImageEncryption | undefined;
}

/** What others than those who set it up need to know of encryption. */
export interface ImageEncryption {
  readonly cipher: SectorCipher | undefined;
  /** Where keys are. */
  readonly place?: { readonly offset: HostOffset; readonly length: number } | undefined;
  /** Adds or erases keys. Absent: there is nothing to change. */
  readonly amend?: ((values: FormatOptionValues, force: boolean) => Promise<void>) | undefined;
  /** What `info` says of it. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** What describes an image's contents: header, L1 and L2 tables, refcounts. Reading only. */
export class Metadata {
  readonly storage: Storage;
  /** The header, with its fields as they are in the storage. */
  readonly header: Header;
  readonly geometry: Geometry;
  /** How it was loaded. */
  readonly options: MetadataOptions;
  l1: L1Table;
  /** Nothing may be written in place for now: writers have to ask for a place, and so wait their turn. */
  frozen = false;
  snapshots: SnapshotTable;
  encryption: ImageEncryption | undefined;
  readonly l2: TableCache;
  /** What to do about damage that is found on the way. */
  corruption: Corruption;
  /** Loaded when first needed: reading guest data does not need it. */
  private counts: Refcounts | undefined;
  /** The entry of the L1 table that is asked for next, if somebody goes through all of them. */
  private nextL2 = NaN;

  constructor(storage: Storage, header: Header, l1: L1Table, options: MetadataOptions = {}) {
    this.storage = storage;
    this.header = header;
    this.geometry = geometryOf(header.fields);
    this.geometry.qemuCache = options.qemuCache ?? {};
    this.l1 = l1;
    this.options = options;
    this.encryption = options.encryption;
    this.snapshots = options.snapshots ?? { entries: [], offset: host(0), size: 0 };
    const budget = options.l2Budget ?? defaultL2Budget;
    const { clusterSize, l2EntrySize } = this.geometry;
    this.l2 = new TableCache(storage, clusterSize, budget, "L2 table", l2EntrySize);
    this.corruption = new Corruption(storage.name, options.onCorruption, undefined);
  }

  /** The file with the guest's data, where that is not the image itself. */
  get dataFile(): DataFile | undefined {
    return this.options.dataFile;
  }

  /** Whether guest data is in a file of its own, be it at hand or not. */
  get hasDataFile(): boolean {
    return (this.header.fields.incompatible_features & incompatible.dataFile) !== 0n;
  }

  /** Reads what is needed to map guest offsets, and checks it against limits and the file. */
  static async load(
    storage: Storage,
    header: Header,
    options: MetadataOptions = {},
  ): Promise<Metadata> {
    const { fields } = header;
    const geometry = geometryOf(fields);
    const file = storage.name;
    const size = exact(fields, "size", file);
    exact(fields, "refcount_table_offset", file);
    const l1 = await readL1Table(
      storage,
      geometry,
      host(exact(fields, "l1_table_offset", file)),
      fields.l1_size,
      size,
    );
    return new Metadata(storage, header, l1, options);
  }

  /** Size of the guest's disk in bytes: whole sectors, as with QEMU; what a header says beyond is cut off. */
  get diskSize(): number {
    return alignDown(Number(this.header.fields.size), sector);
  }

  /** The refcounts; {@link Metadata.loadRefcounts} must have been awaited. */
  get refcounts(): Refcounts {
    if (this.counts === undefined) throw new Error("refcounts used before they were loaded");
    return this.counts;
  }

  /** Reads the refcount table, once. */
  async loadRefcounts(): Promise<Refcounts> {
    if (this.counts === undefined) {
      const { refcount_table_offset, refcount_table_clusters } = this.header.fields;
      const offset = host(Number(refcount_table_offset));
      const table = await readRefcountTable(
        this.storage,
        this.geometry,
        offset,
        refcount_table_clusters,
      );
      this.startRefcounts(offset, table);
    }
    return this.refcounts;
  }

  /** Starts with the refcount table of an image that is just being made. */
  startRefcounts(offset: HostOffset, table: Float64Array): void {
    const { storage, geometry, corruption, options } = this;
    const budget = options.refcountBudget;
    this.counts = new Refcounts(storage, geometry, offset, table, { corruption, budget });
  }

  /** The L2 table at `offset`, which is what entry `l1Index` of an L1 table says. */
  async loadL2(offset: HostOffset, l1Index: number): Promise<Table> {
    if (offset % this.geometry.clusterSize !== 0) {
      const text = `L2 table offset ${address(offset)} unaligned (L1 index: ${address(l1Index)})`;
      throw await this.corruption.signal(text, { field: "L1 entry", value: offset });
    }
    return this.l2.load(offset);
  }

  /** How many L2 tables, from that of entry `index` on, follow each other in the file, as far as is read at once. */
  tablesInRow(l1: L1Table, index: number): number {
    const { clusterSize } = this.geometry;
    const most = Math.min(this.l2.most, Math.floor(bytesAhead / clusterSize), l1.length - index);
    const offset = l1.l2Offset(index);
    let count = 1;
    while (count < most && l1.l2Offset(index + count) === offset + count * clusterSize) count++;
    return count;
  }

  /**
   * As {@link Metadata.loadL2} for an entry of the active L1 table. Whoever goes from one table to the next gets
   * those that follow it in the file along with it: reading many at once takes little longer.
   */
  async loadMappedL2(offset: HostOffset, l1Index: number): Promise<Table> {
    const isNext = l1Index === this.nextL2;
    const count = isNext ? this.tablesInRow(this.l1, l1Index) : 1;
    this.nextL2 = l1Index + count;
    if (count > 1) this.l2.loadAhead(offset, count);
    return this.loadL2(offset, l1Index);
  }
}

/** The metadata of an image that is open for writing. */
export class WritableMetadata extends Metadata {
  override readonly storage: WritableStorage;
  readonly allocator: Allocator;
  readonly writeBack: WriteBack;
  /** Sees to it that no write destroys metadata. */
  readonly overlap: OverlapGuard;
  /** Refcounts are brought to the storage at the end only, with the image marked dirty until then. */
  lazyRefcounts: boolean;
  /**
   * What is in memory is not what is in the storage, because a change of everything at once broke off on
   * the way: nothing may be written any more.
   */
  abandoned = false;
  /** False while the image carries the placeholder header, which is not updated piecemeal. */
  private headerIsLive: boolean;

  /** `metadata` must have its refcounts loaded; it is used up. */
  constructor(
    metadata: Metadata,
    storage: WritableStorage,
    options: {
      readonly headerIsLive: boolean;
      readonly barriers: boolean;
      readonly lazyRefcounts?: boolean;
      /** What writes are checked against, see {@link OverlapGuard}; default as QEMU's. */
      readonly overlapSections?: number | undefined;
    },
  ) {
    super(storage, metadata.header, metadata.l1, metadata.options);
    this.storage = storage;
    this.corruption = new Corruption(storage.name, metadata.options.onCorruption, () =>
      this.markCorrupt(),
    );
    this.overlap = new OverlapGuard(this, options.overlapSections ?? overlapTemplates.cached);
    this.startRefcounts(metadata.refcounts.tableOffset, metadata.refcounts.table);
    this.headerIsLive = options.headerIsLive;
    this.lazyRefcounts = options.lazyRefcounts ?? false;
    this.writeBack = new WriteBack(storage, this, options.barriers);
    this.allocator = new Allocator(
      this.refcounts,
      storage.name,
      (table, offset) => this.switchRefcountTable(table, offset),
      this,
    );
  }

  /** Where guest data is written. */
  get dataStorage(): WritableStorage {
    return (this.dataFile?.storage ?? this.storage) as WritableStorage;
  }

  /** Whether the image is still being made: nothing has been freed in it, so no cluster is stale. */
  get isNew(): boolean {
    return !this.headerIsLive;
  }

  /** Whether refcounts may wait: while an image is being made, nobody relies on them anyway. */
  get isLazy(): boolean {
    return this.lazyRefcounts && this.headerIsLive;
  }

  /** Whether the header in the storage says that refcounts cannot be relied on. */
  get isDirty(): boolean {
    return (this.header.fields.incompatible_features & incompatible.dirty) !== 0n;
  }

  /** Has the header say so, for good, before anything relies on it. */
  async markDirty(): Promise<void> {
    if (this.isDirty) return;
    const { incompatible_features: features } = this.header.fields;
    await this.updateHeader({ incompatible_features: features | incompatible.dirty });
    await this.writeBack.barrier();
  }

  /** Has the header say, for good, that the image is damaged. Version 2 has no word for it. */
  private async markCorrupt(): Promise<void> {
    const { incompatible_features: features, version } = this.header.fields;
    if (version < 3 || (features & incompatible.corrupt) !== 0n) return;
    await this.updateHeader({ incompatible_features: features | incompatible.corrupt });
    if (this.headerIsLive) await this.storage.flush();
  }

  /** Refcounts are right again. */
  async clearDirty(): Promise<void> {
    const { incompatible_features: features } = this.header.fields;
    await this.updateHeader({ incompatible_features: features & ~incompatible.dirty });
  }

  /** The real header has been written: from now on it is kept up to date, and writes are ordered. */
  goLive(): void {
    this.headerIsLive = true;
    this.writeBack.barriers = true;
  }

  /** Changes header fields in the storage, in one write, and in memory. */
  async updateHeader(changes: Partial<HeaderFields>): Promise<void> {
    if (this.headerIsLive) {
      const bytes = new Uint8Array(this.header.fields.header_length);
      await this.storage.read(0, bytes);
      const fields = { ...headerStructure.read(bytes), ...changes };
      headerStructure.write(fields, bytes);
      await this.storage.write(0, bytes);
    }
    Object.assign(this.header.fields, changes);
  }

  /**
   * Changes fields and extensions, writing the header's whole cluster anew in one write: as QEMU lays it
   * out for the version that it has then.
   */
  async rewriteHeader(changes: Partial<HeaderFields>): Promise<void> {
    const fields = { ...this.header.fields, ...changes };
    encodeHeader({ ...this.header, fields }, this.storage.name);
    Object.assign(this.header.fields, changes);
    await this.replaceExtensions(this.header.extensions);
  }

  /** Throws as {@link encodeHeader} does if the header has no room for these extensions. */
  checkHeader(extensions: readonly Extension[]): void {
    encodeHeader({ ...this.header, extensions }, this.storage.name);
  }

  /** Changes the header's extensions, writing its whole cluster anew. */
  async replaceExtensions(extensions: readonly Extension[]): Promise<void> {
    const bytes = encodeHeader({ ...this.header, extensions }, this.storage.name);
    if (this.headerIsLive) await this.storage.write(0, bytes);
    this.header.extensions = extensions;
    const { backing_file_offset, backing_file_size, ...written } = headerStructure.read(bytes);
    const header_length = this.header.fields.version < 3 ? version2Length : written.header_length;
    Object.assign(this.header.fields, { backing_file_offset, backing_file_size, header_length });
  }

  /** Changes the backing file's name and format, writing the header's cluster anew in one write. */
  async setBacking(reference: BackingReference | undefined): Promise<void> {
    const others = this.header.extensions.filter(
      ({ type }) => type !== ExtensionType.backingFormat,
    );
    const format: Extension[] =
      reference?.format === undefined
        ? []
        : [
            {
              type: ExtensionType.backingFormat,
              data: new TextEncoder().encode(reference.format),
            },
          ];
    const header = { ...this.header, backingName: reference?.name };
    const extensions = [...format, ...others];
    // Where the name does not fit, that fails before anything has been changed.
    encodeHeader({ ...header, extensions }, this.storage.name);
    this.header.backingName = reference?.name;
    await this.replaceExtensions(extensions);
  }

  /** Replaces the L1 table by one of `entries` entries with the same contents. */
  async growL1(entries: number): Promise<void> {
    if (entries <= this.l1.length) return;
    const { clusterSize } = this.geometry;
    const old = this.l1;
    const length = entries * entrySize;
    const offset = await this.allocator.allocate(Math.ceil(length / clusterSize));
    const bytes = new Uint8Array(length);
    bytes.set(old.bytes);
    // The table may hold entries for L2 tables that are not in the storage yet, and it becomes
    // visible at once: they have to be there first.
    await this.writeBack.flush(false);
    await this.overlap.prevent(offset, length);
    await this.storage.write(offset, bytes);
    await this.writeBack.barrier();
    await this.updateHeader({ l1_size: entries, l1_table_offset: BigInt(offset) });
    this.l1 = new L1Table(offset, bytes);
    if (old.length > 0) await this.releaseSuperseded(old.offset, old.length * entrySize);
  }

  /**
   * Releases clusters that the header in the storage pointed to until just now, and nothing else
   * does.
   */
  private async releaseSuperseded(offset: HostOffset, length: number): Promise<void> {
    await this.writeBack.barrier();
    await this.allocator.release(offset, length);
  }

  /** The new table is complete, with all blocks, before the header points to it. */
  private async switchRefcountTable(table: Float64Array, offset: HostOffset): Promise<void> {
    // The old table stays in a free cluster: with its last entries, as QEMU leaves it.
    await this.writeBack.writeCounts();
    await this.storage.write(offset, encodeEntries(table));
    await this.writeBack.barrier();
    await this.updateHeader({
      refcount_table_offset: BigInt(offset),
      refcount_table_clusters: (table.length * entrySize) / this.geometry.clusterSize,
    });
    // From here on the header may be on the disk, whatever else fails.
    this.refcounts.table = table;
    this.refcounts.tableOffset = offset;
    this.refcounts.dirtyEntries.clear();
    await this.writeBack.barrier();
  }
}

/** The sizes that a header implies. */
export function geometryOf(
  fields: Pick<HeaderFields, "cluster_bits" | "refcount_order" | "incompatible_features">,
): Geometry {
  const extendedL2 = (fields.incompatible_features & incompatible.extendedL2) !== 0n;
  return new Geometry(fields.cluster_bits, fields.refcount_order, extendedL2);
}

/** A 64-bit field as a number; `E_LIMIT` when it cannot be held exactly. */
function exact(
  fields: HeaderFields,
  name: "size" | "l1_table_offset" | "refcount_table_offset",
  file: string,
): number {
  const value = fields[name];
  const number = Number(value);
  // Sizes beyond 2^53 are held exactly as multiples of 512, up to 2^62.
  const limit = name === "size" ? 2n ** 62n : BigInt(Number.MAX_SAFE_INTEGER);
  if (value > limit || BigInt(number) !== value) {
    throw invalid(file, "E_LIMIT", "Image is too big", { field: name, value });
  }
  return number;
}
