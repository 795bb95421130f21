import type { HostOffset } from "../../bytes/index.ts";
import { copiedBit, hostOffset, lowerHalf, upperHalf } from "./entries.ts";
import { entrySize, maxL1Bytes, type Geometry } from "./geometry.ts";
import { invalid } from "./invalid.ts";
import { readFully } from "./read.ts";
import type { Storage } from "../../storage/index.ts";

/** An L1 table (specification, "Cluster mapping"), whole in memory. */
export class L1Table {
  /** Where it is in the storage. */
  offset: HostOffset;
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  /** Entries that differ from the storage. */
  readonly dirtyEntries = new Set<number>();

  constructor(offset: HostOffset, bytes: Uint8Array) {
    this.offset = offset;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Number of entries. */
  get length(): number {
    return this.bytes.length / entrySize;
  }

  /** Offset of the L2 table that entry `index` points to; 0 when there is none. */
  l2Offset(index: number): HostOffset {
    const at = index * entrySize;
    return hostOffset(this.view.getUint32(at), this.view.getUint32(at + 4));
  }

  /** Whether the L2 table of entry `index` belongs to nobody else and may be changed in place. */
  isCopied(index: number): boolean {
    return (this.view.getUint32(index * entrySize) & copiedBit) !== 0;
  }

  /** The reserved bits of entry `index`, which ought to be zero: bits 0–8 and 56–62. */
  reservedBits(index: number): boolean {
    const at = index * entrySize;
    return (
      (this.view.getUint32(at) & 0x7f00_0000) !== 0 || (this.view.getUint32(at + 4) & 0x1ff) !== 0
    );
  }

  /** All 64 bits of entry `index`. */
  raw(index: number): bigint {
    return this.view.getBigUint64(index * entrySize);
  }

  /** Points entry `index` at a table of its own. */
  set(index: number, l2Offset: HostOffset): void {
    const at = index * entrySize;
    this.view.setUint32(at, upperHalf(l2Offset) + copiedBit);
    this.view.setUint32(at + 4, lowerHalf(l2Offset));
    this.dirtyEntries.add(index);
  }

  /** Says of entry `index` that nobody else refers to its table. */
  own(index: number): void {
    const at = index * entrySize;
    this.view.setUint32(at, (this.view.getUint32(at) | copiedBit) >>> 0);
    this.dirtyEntries.add(index);
  }

  /** Says of entry `index` that others refer to its table, too. */
  share(index: number): void {
    if (!this.isCopied(index)) return;
    const at = index * entrySize;
    this.view.setUint32(at, (this.view.getUint32(at) & ~copiedBit) >>> 0);
    this.dirtyEntries.add(index);
  }

  /** Makes entry `index` point nowhere. */
  clear(index: number): void {
    this.view.setBigUint64(index * entrySize, 0n);
    this.dirtyEntries.add(index);
  }
}

/**
 * Reads the active L1 table. Throws `E_CORRUPT`, `E_LIMIT` or `E_TRUNCATED` when the header places
 * it outside the limits or the file, or makes it too small for the disk.
 */
export async function readL1Table(
  storage: Storage,
  geometry: Geometry,
  offset: HostOffset,
  entries: number,
  diskSize: number,
): Promise<L1Table> {
  const file = storage.name;
  if (entries * entrySize > maxL1Bytes) {
    throw invalid(file, "E_LIMIT", "Active L1 table too large", {
      field: "l1_size",
      value: entries,
    });
  }
  if (entries > 0 && (offset % geometry.clusterSize !== 0 || offset === 0)) {
    throw invalid(file, "E_CORRUPT", "Active L1 table offset invalid", {
      field: "l1_table_offset",
      value: offset,
    });
  }
  if (geometry.l1Entries(diskSize) * entrySize > maxL1Bytes) {
    throw invalid(file, "E_LIMIT", "Image is too big", { field: "size", value: diskSize });
  }
  if (entries < geometry.l1Entries(diskSize)) {
    throw invalid(file, "E_CORRUPT", "L1 table is too small", { field: "l1_size", value: entries });
  }
  const bytes = new Uint8Array(entries * entrySize);
  await readFully(storage, offset, bytes, "L1 table");
  return new L1Table(offset, bytes);
}
