import { advance, alignDown, alignUp, divideUp, guest, host, lower } from "../../bytes/index.ts";
import { inQemuWords, PlatterError } from "../../errors.ts";
import { growFile } from "../grow-file.ts";
import { setOwned } from "./l2-table.ts";
import type { WritableMetadata } from "./metadata.ts";
import { link, reserve, tableFor } from "./reservation.ts";
import { allSubclusters, setSubclusters } from "./subclusters.ts";

/**
 * preallocation=metadata: maps the guest bytes [from, to) to clusters that hold nothing yet, and
 * makes the file long enough for them, by `mode` if given. `hides`: their subclusters are data.
 */
export async function preallocateMetadata(
  metadata: WritableMetadata,
  from: number,
  to: number,
  mode?: "falloc" | "full",
  hides = false,
): Promise<void> {
  const { geometry, dataStorage: storage, l2, writeBack } = metadata;
  // A cluster that the old end of the disk cuts through stays as it is.
  let at = alignUp(guest(from), geometry.clusterSize);
  let fileEnd = 0;
  const grow = async (): Promise<void> => {
    if (fileEnd <= storage.size) return;
    await (mode === undefined ? storage.truncate?.(fileEnd) : growData(metadata, fileEnd, mode));
  };
  while (at < to) {
    const {
      end,
      host: place,
      links,
    } = await reserve(
      metadata,
      at,
      lower(guest(to), advance(at, requestLimit(geometry.clusterSize))),
    );
    if (!metadata.hasDataFile) await metadata.overlap.prevent(place, end - at);
    await link(metadata, links, hides ? { start: at, end } : undefined, () => () => undefined);
    await clearStale(metadata, place, alignUp(end - at, geometry.clusterSize));
    // As far as QEMU copies on writing a part of the last cluster.
    fileEnd = Math.max(fileEnd, place + alignUp(end - at, geometry.subclusterSize));
    at = end;
    if (!l2.crowded) continue;
    // No entry may be seen that points past the end of the file.
    await grow();
    await writeBack.flush(false);
  }
  await grow();
}

/** Zeroes what new clusters hold from former times, if they are inside the file already. */
async function clearStale(
  { dataStorage: storage, isNew }: WritableMetadata,
  start: number,
  length: number,
): Promise<void> {
  const end = Math.min(storage.size, start + length);
  if (isNew || start >= end) return;
  if ((await storage.zero?.(start, end - start, { unmap: false })) === true) return;
  for (let at = start; at < end; at += zeros.length) {
    await storage.write(at, zeros.subarray(0, Math.min(zeros.length, end - at)));
  }
}

/** QEMU asks for whole clusters, less than 2 GiB at a time. */
const requestLimit = (clusterSize: number): number => alignDown(2 ** 31 - 1, clusterSize);

/**
 * Reserves all data clusters in one piece at the end of the file, then maps them. `hides`: their
 * subclusters are data, which is zeros; otherwise a backing image shows until they are written.
 */
export async function preallocateData(
  metadata: WritableMetadata,
  from: number,
  to: number,
  mode: "falloc" | "full",
  hides: boolean,
): Promise<void> {
  const { geometry, allocator, dataStorage: storage } = metadata;
  const { clusterSize, l2Entries } = geometry;
  if (storage.truncate === undefined) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${storage.name}: preallocation=${mode} needs a file that can grow`,
      { file: storage.name, field: "preallocation", value: mode },
    );
  }
  // A data file has its clusters where the guest has them: there is no place to be found.
  if (metadata.dataFile !== undefined) return preallocateMetadata(metadata, from, to, mode, hides);
  const clusters = (alignUp(to, clusterSize) - alignUp(from, clusterSize)) / clusterSize;
  // Makes the file reach as far as clusters are in use.
  await metadata.writeBack.flush(false);
  const lastUsed = await lastUsedCluster(metadata);
  const start = host((lastUsed + 1) * clusterSize);
  // More than will be needed: no refcount block may have to be made in the middle of the data.
  const tables = divideUp(clusters, l2Entries) + 1;
  const first = await allocator.rebuildTable(start, clusters + tables, true);
  await allocator.allocateAt(first, clusters);
  await clearStale(metadata, first, clusters * clusterSize);
  await growData(metadata, first + clusters * clusterSize, mode);
  let at = alignUp(guest(from), clusterSize);
  for (let place = first; place < first + clusters * clusterSize;) {
    const table = await tableFor(metadata, at);
    for (
      let index = Math.floor(at / clusterSize) % l2Entries;
      index < l2Entries && place < first + clusters * clusterSize;
      index++
    ) {
      setOwned(metadata.l2, table, index, place);
      if (hides) setSubclusters(metadata.l2, table, index, 0, allSubclusters);
      place = advance(place, clusterSize);
      at = advance(at, clusterSize);
    }
    if (metadata.l2.crowded) await metadata.writeBack.flush(false);
  }
}

/** Index of the last cluster with a refcount. */
export async function lastUsedCluster({
  refcounts,
  geometry,
  storage,
}: WritableMetadata): Promise<number> {
  let index = divideUp(storage.size, geometry.clusterSize) - 1;
  while (index > 0 && (await refcounts.count(index)) === 0) index--;
  return index;
}

const zeros = new Uint8Array(1024 * 1024);

/** Makes the file of the data `size` bytes long and gives the new part its space. */
const growData = (
  { dataStorage: storage }: WritableMetadata,
  size: number,
  mode: "falloc" | "full",
): Promise<void> =>
  inQemuWords("Failed to resize underlying file: ", () =>
    growFile(storage, storage.size, size, mode),
  );
