import { alignUp, guest, host, isZero, type HostOffset } from "../../bytes/index.ts";
import type { Preallocation, ResizeOptions } from "../../disk/index.ts";
import { inQemuWords, PlatterError } from "../../errors.ts";
import { discardInDataFile, fitDataFile } from "./data-file.ts";
import { entrySize, maxL1Bytes } from "./geometry.ts";
import { referenced, setEntry } from "./l2-table.ts";
import { setSubclusters } from "./subclusters.ts";
import { tableFor } from "./reservation.ts";
import { getRefcount, setRefcount } from "./refcount-block.ts";
import type { WritableMetadata } from "./metadata.ts";
import { lastUsedCluster, preallocateData, preallocateMetadata } from "./preallocate.ts";

/**
 * Changes the size of the disk, which must be idle. Growing follows QEMU cluster by cluster;
 * `size` is a multiple of 512. `replacing` is called whenever entries are about to change; the function
 * it returns tells whether anybody still relies on what they were.
 */
export async function resize(
  metadata: WritableMetadata,
  size: number,
  { preallocation: wanted = "off", backingSize = 0 }: ResizeOptions,
  replacing: () => () => boolean = () => () => true,
): Promise<void> {
  const { geometry, storage, dataFile, dataStorage } = metadata;
  // The raw view has to show what the guest sees, also where nobody has written.
  const preallocation =
    wanted === "off" && dataFile?.raw === true && size > metadata.diskSize ? "metadata" : wanted;
  const old = metadata.diskSize;
  if (metadata.snapshots.entries.length > 0 && metadata.header.fields.version < 3) {
    throw versionTwo(storage.name);
  }
  const entries = geometry.l1Entries(size);
  if (entries * entrySize > maxL1Bytes) {
    throw new PlatterError(
      "E_LIMIT",
      `${storage.name}: a disk of ${size} bytes needs an L1 table of ${entries} entries, more than ` +
        `the ${maxL1Bytes / entrySize} that are allowed; use larger clusters`,
      {
        file: storage.name,
        field: "size",
        value: size,
        qemu: "Failed to grow the L1 table: File too large",
      },
    );
  }
  if (size < old) {
    await shrink(metadata, size, preallocation, replacing);
  } else {
    await inQemuWords("Failed to grow the L1 table: ", () => metadata.growL1(entries));
    if (preallocation === "metadata") await preallocateMetadata(metadata, old, size);
    else if (preallocation !== "off") {
      const hides = geometry.hasSubclusters && backingSize > old;
      await preallocateData(metadata, old, size, preallocation, hides);
    }
    if (dataFile !== undefined) {
      const exact = preallocation === "off" && !metadata.isNew;
      await fitDataFile(dataStorage, size, exact);
    }
  }
  await metadata.writeBack.flush(false);
  await metadata.updateHeader({ size: BigInt(size) });
  // What the header still counts must not be missing.
  if (dataFile !== undefined && size < old) await fitDataFile(dataStorage, size, true);
}

/** Snapshots of version 2 need not know the size of their disk. */
export function versionTwo(file: string): PlatterError {
  return new PlatterError(
    "E_UNSUPPORTED",
    `${file}: a version 2 image with internal snapshots keeps its size; upgrade it with ` +
      `"amend -o compat=1.1"`,
    { file, field: "version", value: 2, qemu: "Can't resize a v2 image which has snapshots" },
  );
}

/** Forgets all clusters past `size`. */
async function shrink(
  metadata: WritableMetadata,
  size: number,
  preallocation: Preallocation,
  replacing: () => () => boolean,
): Promise<void> {
  const { storage } = metadata;
  if (preallocation !== "off") {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${storage.name}: preallocation=${preallocation} cannot be used for shrinking`,
      {
        file: storage.name,
        field: "preallocation",
        value: preallocation,
        qemu: "Preallocation can't be used for shrinking an image",
      },
    );
  }
  await forgetFrom(metadata, size, replacing);
}

/** Forgets everything, so that the images behind this one show. The disk must be idle. */
export async function makeEmpty(
  metadata: WritableMetadata,
  replacing: () => () => boolean,
): Promise<void> {
  // As QEMU does, which leaves the tables where they are if there are snapshots or a data file.
  const keepsTables = metadata.hasDataFile || metadata.snapshots.entries.length > 0;
  await forgetFrom(metadata, 0, replacing, keepsTables);
  const { dataFile, dataStorage, diskSize } = metadata;
  if (dataFile !== undefined) await discardInDataFile(dataStorage, guest(0), guest(diskSize));
}

/**
 * Forgets all clusters from guest offset `size` on, with their tables unless those are kept, and what
 * of the file is not needed any more.
 */
async function forgetFrom(
  metadata: WritableMetadata,
  size: number,
  replacing: () => () => boolean,
  keepsTables = false,
): Promise<void> {
  const { geometry, l1, l2, storage, writeBack } = metadata;
  const first = alignUp(size, geometry.clusterSize);
  for (let i = Math.floor(first / geometry.l2Span); i < l1.length; i++) {
    const offset = l1.l2Offset(i);
    if (offset === 0) continue;
    const whole = i * geometry.l2Span >= first;
    // Of a table that snapshots have, too, only references are dropped; to change it needs a copy.
    const keeps = !whole || keepsTables;
    const shared = !keeps && !l1.isCopied(i);
    const table = keeps
      ? await tableFor(metadata, guest(i * geometry.l2Span))
      : await l2.load(offset);
    const ready = replacing();
    const from = whole ? 0 : (first - i * geometry.l2Span) / geometry.clusterSize;
    for (let index = from; index < geometry.l2Entries; index++) {
      const range =
        metadata.dataFile === undefined ? referenced(table, index, geometry) : undefined;
      if (range !== undefined) writeBack.releaseLater({ ...range, punch: true, ready });
      if (shared) continue;
      setEntry(l2, table, index, 0, 0);
      if (geometry.hasSubclusters) setSubclusters(l2, table, index, 0, 0);
    }
    if (keeps) continue;
    l1.clear(i);
    if (!shared) l2.drop(offset);
    writeBack.releaseLater({
      offset,
      length: geometry.clusterSize,
      punch: true,
      ready,
    });
  }
  await writeBack.flush(false);
  await dropUnusedBlocks(metadata);
  const end = ((await lastUsedCluster(metadata)) + 1) * geometry.clusterSize;
  // As with QEMU, a host that cannot shorten a file has it keep what nothing uses.
  if (end < storage.size) await storage.truncate?.(end).catch(() => undefined);
}

/**
 * Lets go of refcount blocks that count nothing but themselves. The table forgets them before their
 * clusters are free.
 */
async function dropUnusedBlocks({
  refcounts,
  geometry,
  writeBack,
}: WritableMetadata): Promise<void> {
  const { clusterSize, refcountsPerBlock, refcountOrder } = geometry;
  const unused: number[] = [];
  for (const [entry, offset] of refcounts.table.entries()) {
    if (offset === 0) continue;
    const { view, bytes } = await refcounts.blocks.load(host(offset));
    const own = offset / clusterSize - entry * refcountsPerBlock;
    const count =
      own >= 0 && own < refcountsPerBlock ? getRefcount(view, own, refcountOrder) : undefined;
    if (count !== undefined) setRefcount(view, own, refcountOrder, 0);
    if (isZero(bytes)) unused.push(entry);
    if (count !== undefined) setRefcount(view, own, refcountOrder, count);
  }
  if (unused.length === 0) return;
  const dropped: HostOffset[] = [];
  for (const entry of unused) {
    dropped.push(host(refcounts.table[entry]!));
    refcounts.table[entry] = 0;
    refcounts.dirtyEntries.add(entry);
    refcounts.blocks.drop(host(dropped.at(-1)!));
  }
  await writeBack.writeCounts();
  await writeBack.barrier();
  for (const offset of dropped) {
    // One that counted itself is gone with its count.
    if (refcounts.blockOffset(offset / clusterSize) === 0)
      await writeBack.punch(offset, clusterSize);
    else await writeBack.release({ offset, length: clusterSize, punch: true });
  }
}
