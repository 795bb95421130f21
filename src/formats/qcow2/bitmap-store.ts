import { divideUp, host, type HostOffset } from "../../bytes/index.ts";
import type { BitmapBits } from "./bitmap-bits.ts";
import {
  encodeBitmapDirectory,
  maxBitmapBytes,
  tableBytes,
  type DirectoryEntry,
} from "./bitmap-directory.ts";
import { bitmapError } from "./bitmap-error.ts";
import {
  bitmapState,
  encodeBitmapExtension,
  maxBitmapDirectory,
  type BitmapExtension,
} from "./bitmap-extension.ts";
import { encodeBitmapTable, storedClusters, type BitmapTable } from "./bitmap-table.ts";
import { ExtensionType } from "./extensions.ts";
import { autoclear } from "./features.ts";
import { entrySize } from "./geometry.ts";
import type { WritableMetadata } from "./metadata.ts";
import { section } from "./overlap.ts";

/** A run of clusters. */
export interface Place {
  readonly offset: HostOffset;
  /** Bytes. */
  readonly length: number;
  /** The space is given back to the host when they are released: as QEMU, for bits only. */
  readonly punch: boolean;
}

/**
 * Writes the bits of a bitmap and its table to clusters of their own, which are added to `places`.
 * Nothing points there yet. Takes clusters in QEMU's order: bits as they ascend, then the table.
 */
export async function storeBits(
  metadata: WritableMetadata,
  name: string,
  bits: BitmapBits,
  places: Place[],
): Promise<{ readonly tableOffset: HostOffset; readonly tableEntries: number }> {
  const { storage, geometry } = metadata;
  const { clusterSize } = geometry;
  const entries = bits.pieceCount;
  if (entries === 0) throw bitmapError(storage.name, "E_LIMIT", "No memory", { value: name });
  if (entries * clusterSize > maxBitmapBytes) {
    throw bitmapError(storage.name, "E_LIMIT", `Bitmap '${name}' is too big`, { value: name });
  }
  const table: BitmapTable = new Float64Array(entries);
  for (const [index, bytes] of bits.stored()) {
    const place = await take(metadata, clusterSize, places);
    table[index] = place;
    await storage.write(place, bytes);
  }
  const tableOffset = await take(metadata, entries * entrySize, places);
  await storage.write(tableOffset, encodeBitmapTable(table));
  return { tableOffset, tableEntries: entries };
}

async function take(
  metadata: WritableMetadata,
  length: number,
  places: Place[],
): Promise<HostOffset> {
  const clusters = divideUp(length, metadata.geometry.clusterSize);
  const offset = await metadata.allocator.allocate(clusters);
  await metadata.overlap.prevent(offset, length);
  places.push({ offset, length, punch: false });
  return offset;
}

/** The clusters of a bitmap in the file, in QEMU's order of letting go of them. */
export function placesOf(entry: DirectoryEntry, table: BitmapTable, clusterSize: number): Place[] {
  const bits = storedClusters(table).map((offset) => ({
    offset,
    length: clusterSize,
    punch: true,
  }));
  return [...bits, { offset: entry.tableOffset, length: tableBytes(entry), punch: false }];
}

/** Gives clusters back. */
export async function releasePlaces(
  metadata: WritableMetadata,
  places: readonly Place[],
): Promise<void> {
  for (const place of places) await metadata.writeBack.release(place);
}

/**
 * Writes a directory of `entries` to clusters of its own, which are added to `places`, and brings
 * everything that it refers to to the storage. Undefined when there are no entries.
 */
export async function writeDirectory(
  metadata: WritableMetadata,
  entries: readonly DirectoryEntry[],
  places: Place[],
): Promise<BitmapExtension | undefined> {
  const { storage, writeBack } = metadata;
  let next: BitmapExtension | undefined;
  if (entries.length > 0) {
    const bytes = encodeBitmapDirectory(entries);
    if (bytes.length > maxBitmapDirectory) {
      throw bitmapError(storage.name, "E_LIMIT", "Bitmap directory is too large");
    }
    const offset = await take(metadata, bytes.length, places);
    next = { count: entries.length, size: bytes.length, offset };
    metadata.checkHeader(withBitmaps(metadata, next));
    await storage.write(offset, bytes);
  }
  await writeBack.flush(false);
  await writeBack.barrier();
  return next;
}

/**
 * Has the header point to the bitmap directory `next`, or to none, and releases the old directory.
 * When it rejects, it is not known where the header points.
 */
export async function switchDirectory(
  metadata: WritableMetadata,
  next: BitmapExtension | undefined,
): Promise<void> {
  const { storage, writeBack, header } = metadata;
  const old = bitmapState(header, storage.name).extension;
  await switchHeader(metadata, next);
  await writeBack.barrier();
  if (old !== undefined) await metadata.allocator.release(host(old.offset), old.size);
}

/**
 * Changes the header's bitmaps extension, or drops it. The extension may lie on both sides of a sector
 * boundary, and its autoclear bit lies elsewhere: what is torn there by a crash must not count, so the bit
 * is off meanwhile.
 */
async function switchHeader(
  metadata: WritableMetadata,
  next: BitmapExtension | undefined,
): Promise<void> {
  const { header, writeBack } = metadata;
  const off = header.fields.autoclear_features & ~autoclear.bitmaps;
  if (header.fields.autoclear_features !== off) {
    await metadata.updateHeader({ autoclear_features: off });
    await writeBack.barrier();
  }
  await metadata.replaceExtensions(withBitmaps(metadata, next));
  if (next === undefined) return;
  await writeBack.barrier();
  await metadata.updateHeader({ autoclear_features: off | autoclear.bitmaps });
}

function withBitmaps(
  { header }: WritableMetadata,
  next: BitmapExtension | undefined,
): typeof header.extensions {
  const others = header.extensions.filter(({ type }) => type !== ExtensionType.bitmaps);
  return next === undefined ? others : [...others, encodeBitmapExtension(next)];
}

/**
 * Writes the directory again in its place, where only flags have changed. Each flag lies in one
 * sector, so that a crash leaves some of them changed and others not.
 */
export async function rewriteDirectory(
  metadata: WritableMetadata,
  { offset }: BitmapExtension,
  entries: readonly DirectoryEntry[],
): Promise<void> {
  const bytes = encodeBitmapDirectory(entries);
  await metadata.overlap.prevent(offset, bytes.length, section.bitmapDirectory);
  await metadata.storage.write(offset, bytes);
  await metadata.writeBack.barrier();
}
