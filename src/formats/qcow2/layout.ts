import { divideUp } from "../../bytes/index.ts";
import type { Layout, LayoutOptions, LayoutPart } from "../../disk/index.ts";
import { PlatterError, throwIfAborted } from "../../errors.ts";
import { ExtensionType, decodeExtensions, type Extension } from "./extensions.ts";
import { headerFields } from "./fields.ts";
import { entrySize } from "./geometry.ts";
import { isCompressed, isZeroFlagged, referenced } from "./l2-table.ts";
import type { Metadata } from "./metadata.ts";
import { ClusterRoles } from "./roles.ts";
import type { Table } from "./tables.ts";

/**
 * Finds out what each cluster of an image file is for, from its active tables; what nothing refers to
 * is leaked when it has a refcount, and free when it has none. What lies outside the file or is not
 * aligned is left out: `check` reports it.
 */
export async function layoutOf(metadata: Metadata, options: LayoutOptions): Promise<Layout> {
  const { storage, geometry, l1, header } = metadata;
  const { clusterSize } = geometry;
  const roles = new ClusterRoles(clusterSize, storage.size);
  roles.mark("header", 0, clusterSize);
  const { place } = metadata.encryption ?? {};
  if (place !== undefined) roles.mark("header", place.offset, place.length);
  const refcounts = await metadata.loadRefcounts();
  roles.mark("refcount table", refcounts.tableOffset, refcounts.table.length * entrySize);
  for (const offset of refcounts.table) {
    if (offset !== 0) roles.mark("refcount blocks", offset, clusterSize);
  }
  roles.mark("L1 table", l1.offset, l1.bytes.length);
  for (let i = 0; i < l1.length; i++) {
    const offset = l1.l2Offset(i);
    if (offset !== 0) roles.mark("L2 tables", offset, clusterSize);
  }
  for (let i = 0; i < l1.length; i++) {
    throwIfAborted(options.signal);
    const offset = l1.l2Offset(i);
    const isInside = offset % clusterSize === 0 && offset + clusterSize <= storage.size;
    if (offset !== 0 && isInside) markTable(await metadata.l2.load(offset), metadata, roles);
  }
  await markSnapshots(metadata, roles, options);
  if (header.extensions.some(({ type }) => type === ExtensionType.bitmaps)) {
    await markBitmaps(metadata, roles);
  }
  await markUnreferenced(metadata, roles, options);
  const fields = headerFields(header, await readExtensions(metadata));
  return { fields, parts: (): Iterable<LayoutPart> => roles.parts() };
}

/** What only snapshots refer to. */
async function markSnapshots(
  { storage, geometry, snapshots, hasDataFile, l2 }: Metadata,
  roles: ClusterRoles,
  { signal }: LayoutOptions,
): Promise<void> {
  if (snapshots.entries.length === 0) return;
  const { clusterSize } = geometry;
  roles.mark("snapshot tables", snapshots.offset, snapshots.size);
  const { readSnapshotL1 } = await import("./snapshot-l1.ts");
  for (const snapshot of snapshots.entries) {
    const l1 = await readSnapshotL1(storage, geometry, snapshot);
    roles.mark("snapshot tables", l1.offset, l1.bytes.length);
    for (let i = 0; i < l1.length; i++) {
      throwIfAborted(signal);
      const offset = l1.l2Offset(i);
      const isInside = offset % clusterSize === 0 && offset + clusterSize <= storage.size;
      if (offset === 0 || !isInside) continue;
      roles.mark("snapshot tables", offset, clusterSize);
      if (hasDataFile) continue;
      const table = await l2.load(offset);
      for (let index = 0; index < geometry.l2Entries; index++) {
        const place = referenced(table, index, geometry);
        if (place !== undefined) roles.mark("snapshot data", place.offset, place.length);
      }
    }
  }
}

/** All header extensions, also those that the header is rebuilt with rather than kept. */
async function readExtensions({ storage, geometry, header }: Metadata): Promise<Extension[]> {
  const { header_length, backing_file_offset } = header.fields;
  const bytes = new Uint8Array(Math.min(geometry.clusterSize, storage.size));
  await storage.read(0, bytes);
  const end = Number(backing_file_offset) || geometry.clusterSize;
  return decodeExtensions(bytes.subarray(0, end), header_length, end, storage.name);
}

function markTable(table: Table, { geometry, hasDataFile }: Metadata, roles: ClusterRoles): void {
  if (hasDataFile) return;
  for (let index = 0; index < geometry.l2Entries; index++) {
    const place = referenced(table, index, geometry);
    if (place === undefined) continue;
    const role = isCompressed(table, index)
      ? "compressed"
      : isZeroFlagged(table, index)
        ? "zeroed"
        : "data";
    roles.mark(role, place.offset, place.length);
  }
}

/** The bitmap directory, tables and bits, as far as they can be followed. */
async function markBitmaps(metadata: Metadata, roles: ClusterRoles): Promise<void> {
  const { countBitmaps } = await import("./bitmap-check.ts");
  try {
    await countBitmaps(metadata, (offset, length) => roles.mark("bitmaps", offset, length));
  } catch (error) {
    // What is wrong with the table of a bitmap that is in use, check reports.
    if (!(error instanceof PlatterError)) throw error;
  }
}

/** Tells leaked clusters from free ones by their refcounts. */
async function markUnreferenced(
  { storage, geometry, refcounts }: Metadata,
  roles: ClusterRoles,
  { signal }: LayoutOptions,
): Promise<void> {
  const { clusterSize, refcountsPerBlock } = geometry;
  const clusters = divideUp(storage.size, clusterSize);
  for (let first = 0; first < clusters; first += refcountsPerBlock) {
    throwIfAborted(signal);
    const block = refcounts.blockOffset(first);
    // Without a block, all of them are free.
    if (block === 0) continue;
    const isInside = block % clusterSize === 0 && block + clusterSize <= storage.size;
    const end = Math.min(clusters, first + refcountsPerBlock);
    for (let index = first; index < end; index++) {
      if (!roles.isFree(index)) continue;
      if (!isInside) roles.mark("unknown", index * clusterSize, clusterSize);
      else if ((refcounts.cachedCount(index) ?? (await refcounts.count(index))) !== 0) {
        roles.mark("leaked", index * clusterSize, clusterSize);
      }
    }
  }
}
