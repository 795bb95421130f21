import {
  advance,
  alignDown,
  alignUp,
  divideUp,
  host,
  lower,
  type GuestOffset,
  type HostOffset,
} from "../../bytes/index.ts";
import { nowhere, type Edge } from "../../disk/index.ts";
import type { Geometry } from "./geometry.ts";
import {
  hostClusterOf,
  isCompressed,
  isOwned,
  isZeroFlagged,
  lowerOf,
  setOwned,
  upperOf,
} from "./l2-table.ts";
import { address, misplacement } from "./invalid.ts";
import type { WritableMetadata } from "./metadata.ts";
import { anyL2, section } from "./overlap.ts";
import {
  allocatedSubclusters,
  endOfSubclusters,
  firstSubcluster,
  refuseInvalid,
  setSubclusters,
  subclusterMask,
  zeroSubclusters,
} from "./subclusters.ts";
import type { Table } from "./tables.ts";

/** Consecutive entries of one L2 table that will point at consecutive host clusters. */
export interface Link {
  readonly l2Offset: HostOffset;
  /** Guest offset of the first cluster. */
  readonly start: GuestOffset;
  readonly index: number;
  readonly count: number;
  /** Host offset of the first cluster. */
  readonly host: HostOffset;
  /** The clusters had this place before (perhaps flagged as zero); otherwise they are new. */
  readonly kept: boolean;
}

/** A place for a range of guest bytes that is not visible yet. */
export interface Reservation {
  /** End of the guest range that has a place. */
  readonly end: GuestOffset;
  /** Storage offset of the first guest byte; the rest follows contiguously. */
  readonly host: HostOffset;
  readonly links: readonly Link[];
  /** Parts of the outer clusters that the range leaves to be filled. */
  readonly edges: readonly Edge[];
}

/** The L2 table that maps guest byte `at`, for changing it: made if there is none of its own. */
export async function tableFor(metadata: WritableMetadata, at: GuestOffset): Promise<Table> {
  const { geometry, l1, l2, allocator } = metadata;
  const index = Math.floor(at / geometry.l2Span);
  const offset = l1.l2Offset(index);
  const existing = offset === 0 ? undefined : await metadata.loadL2(offset, index);
  if (existing !== undefined && l1.isCopied(index)) {
    // It could not be written, which is better known before the guest relies on it.
    const unsure = metadata.overlap.prevent(offset, geometry.clusterSize, anyL2);
    if (unsure !== undefined) await unsure;
    return existing;
  }
  // A table that others refer to stays as it is; the disk gets a copy.
  const shared = existing;
  const place = await allocator.allocate(1);
  if (place === 0) {
    throw await metadata.corruption.signal("Preventing invalid allocation of L2 table at offset 0");
  }
  // With the cluster that it is in, another table would be gone from memory, too.
  await metadata.overlap.prevent(place, geometry.clusterSize);
  const table = l2.create(place);
  if (shared !== undefined) {
    table.bytes.set(shared.bytes);
    const { clusterSize: length } = geometry;
    metadata.writeBack.releaseLater({ offset, length, punch: false, ready: () => true });
  }
  l1.set(index, table.offset);
  metadata.overlap.add(table.offset, section.activeL2);
  return table;
}

/**
 * Finds a place for the guest bytes [at, end), or for as many from `at` on as can be contiguous:
 * clusters that may be overwritten stay where they are, others are allocated. L2 tables are made on
 * the way. Mirrors the order in which QEMU asks for clusters, which decides where they end up.
 */
export async function reserve(
  metadata: WritableMetadata,
  at: GuestOffset,
  end: GuestOffset,
): Promise<Reservation> {
  const { clusterSize } = metadata.geometry;
  const links: Link[] = [];
  let start = nowhere;
  let position = at;
  try {
    while (position < end) {
      const distance = alignDown(position, clusterSize) - alignDown(at, clusterSize);
      const next = await nextLink(
        metadata,
        position,
        end,
        start === nowhere ? nowhere : advance(start, distance),
      );
      if (next === undefined) break;
      if (start === nowhere) start = next.host;
      links.push(next);
      position = lower(end, advance(alignDown(position, clusterSize), next.count * clusterSize));
    }
    return {
      end: position,
      host: advance(start, at % clusterSize),
      links,
      edges: await edgesOf(metadata, at, position, links),
    };
  } catch (error) {
    await giveBack(metadata, links);
    throw error;
  }
}

/**
 * One step of a reservation: the clusters from that of `at` on that can be had in one go, not
 * beyond the slice of the L2 table. They have to start at host offset `place`, unless that is
 * {@link nowhere}. Undefined when they cannot.
 */
async function nextLink(
  metadata: WritableMetadata,
  at: GuestOffset,
  end: GuestOffset,
  place: HostOffset,
): Promise<Link | undefined> {
  const { geometry, allocator } = metadata;
  const { clusterSize, l2Entries } = geometry;
  const sliceEntries = geometry.sliceEntries(metadata.diskSize);
  const table = await tableFor(metadata, at);
  const index = Math.floor(at / clusterSize) % l2Entries;
  const wanted = (alignUp(end, clusterSize) - alignDown(at, clusterSize)) / clusterSize;
  const limit = Math.min(wanted, sliceEntries - (index % sliceEntries));
  const common = { l2Offset: table.offset, start: alignDown(at, clusterSize), index };
  const external = metadata.hasDataFile;
  if (geometry.hasSubclusters) {
    await refuseInvalid(metadata.corruption, table, index, limit, external);
  }
  let count = 1;
  if (isOwned(table, index, external)) {
    const own = hostClusterOf(table, index);
    if (own % clusterSize !== 0) throw await unaligned(metadata, table, index, at);
    if (external && Number(own) !== alignDown(at, clusterSize)) {
      throw await misplaced(metadata, table, index, at);
    }
    if (place !== nowhere && own !== place) return undefined;
    while (
      count < limit &&
      isOwned(table, index + count, external) &&
      hostClusterOf(table, index + count) === own + count * clusterSize
    ) {
      count++;
    }
    return { ...common, count, host: own, kept: true };
  }
  while (count < limit && !isOwned(table, index + count, external)) count++;
  // Data in a file of its own lies where the guest has it, and is not counted.
  if (external) return { ...common, count, host: host(alignDown(at, clusterSize)), kept: false };
  if (place === nowhere) {
    return { ...common, count, host: await allocator.allocate(count), kept: false };
  }
  count = await allocator.allocateAt(place, count);
  return count === 0 ? undefined : { ...common, count, host: place, kept: false };
}

/**
 * How many clusters from `at` on, a multiple of the cluster size, have nothing yet, up to `end` and as far as their L2
 * table reaches, and the entry of the first; undefined where the disk has no such table of its own.
 */
export async function emptyFrom(
  metadata: WritableMetadata,
  at: GuestOffset,
  end: GuestOffset,
): Promise<Pick<Link, "l2Offset" | "index" | "count"> | undefined> {
  const { geometry, l1 } = metadata;
  const { clusterSize, l2Entries, l2Span } = geometry;
  const l1Index = Math.floor(at / l2Span);
  const l2Offset = l1.l2Offset(l1Index);
  if (l2Offset === 0 || !l1.isCopied(l1Index)) return undefined;
  const table = await metadata.loadL2(l2Offset, l1Index);
  const unsure = metadata.overlap.prevent(l2Offset, clusterSize, anyL2);
  if (unsure !== undefined) await unsure;
  const index = Math.floor(at / clusterSize) % l2Entries;
  const limit = Math.min(l2Entries - index, Math.floor((end - at) / clusterSize));
  let count = 0;
  while (
    count < limit &&
    upperOf(table, index + count) === 0 &&
    lowerOf(table, index + count) === 0
  ) {
    count++;
  }
  return count === 0 ? undefined : { l2Offset, index, count };
}

/** A cluster of one's own that begins in the middle of two. */
function unaligned(
  { corruption }: WritableMetadata,
  table: Table,
  index: number,
  at: GuestOffset,
): Promise<Error> {
  const what = isZeroFlagged(table, index) ? "Preallocated zero" : "Data";
  return corruption.signal(
    `${what} cluster offset ${address(hostClusterOf(table, index))} unaligned ` +
      `(guest offset: ${address(at)})`,
    { field: "L2 entry", offset: table.offset + index * table.entrySize },
  );
}

/** Data in a file of its own that is not where the guest has it. */
function misplaced(
  { corruption, geometry }: WritableMetadata,
  table: Table,
  index: number,
  at: GuestOffset,
): Promise<Error> {
  const start = alignDown(at, geometry.clusterSize);
  return corruption.signal(misplacement(hostClusterOf(table, index), start, index), {
    field: "L2 entry",
    offset: table.offset + index * table.entrySize,
  });
}

/** The parts of the first and last cluster that a write of [at, end) leaves to be filled. */
async function edgesOf(
  metadata: WritableMetadata,
  at: GuestOffset,
  end: GuestOffset,
  links: readonly Link[],
): Promise<Edge[]> {
  const { geometry, l2 } = metadata;
  const edges: Edge[] = [];
  const first = links[0]!;
  const last = links.at(-1)!;
  const head = alignDown(at, geometry.clusterSize);
  if (head < at) {
    const filled = filledPart(geometry, await l2.load(first.l2Offset), first.index, first.kept, at);
    const start = advance(head, filled.from);
    if (start < at) edges.push({ start, end: at });
  }
  const tail = alignUp(end, geometry.clusterSize);
  if (end < tail) {
    const index = last.index + last.count - 1;
    const lastByte = advance(end, -1);
    const filled = filledPart(geometry, await l2.load(last.l2Offset), index, last.kept, lastByte);
    const stop = advance(alignDown(end, geometry.clusterSize), filled.to);
    if (end < stop) edges.push({ start: end, end: stop });
  }
  return edges;
}

/**
 * The bytes [from, to) of a cluster that have to be filled when the byte at `at` in it is written and
 * the entry changes from what it is; `kept` tells whether the cluster keeps its place. An empty range
 * where the place holds what the guest sees.
 */
function filledPart(
  { clusterSize, subclusterSize, hasSubclusters }: Geometry,
  table: Table,
  index: number,
  kept: boolean,
  at: GuestOffset,
): { readonly from: number; readonly to: number } {
  const inside = at % clusterSize;
  if (!hasSubclusters) {
    // New clusters hold nothing yet, and the bytes of a zero-flagged one are not what the guest sees.
    if (kept && !isZeroFlagged(table, index)) return { from: inside, to: inside };
    return { from: 0, to: clusterSize };
  }
  if (isCompressed(table, index)) return { from: 0, to: clusterSize };
  const allocated = allocatedSubclusters(table, index);
  const touched = Math.floor(inside / subclusterSize);
  if (kept && (allocated & subclusterMask(touched, touched + 1)) !== 0) {
    return { from: inside, to: inside };
  }
  // What else is data in a cluster that moves has to come along, and all between it and the write.
  const others = kept ? 0 : allocated;
  return {
    from: Math.min(touched, firstSubcluster(others)) * subclusterSize,
    to: Math.max(touched + 1, endOfSubclusters(others)) * subclusterSize,
  };
}

/**
 * Points the L2 entries at their clusters. `written` is the guest range that holds what the guest is to
 * see there; without, extended entries get a place and no subcluster in it. `replacing` is called when a
 * table is about to change, and the function it returns is told, without anybody else getting a turn,
 * of each entry whose old reference goes, before it goes.
 */
export async function link(
  metadata: WritableMetadata,
  links: readonly Link[],
  written: Edge | undefined,
  replacing: () => (table: Table, index: number) => void,
): Promise<void> {
  const { geometry, l2 } = metadata;
  const { clusterSize, hasSubclusters } = geometry;
  for (const { l2Offset, start, index, count, host: first, kept } of links) {
    const table = await l2.load(l2Offset);
    const replaced = replacing();
    for (let i = 0; i < count; i++) {
      if (kept && !hasSubclusters && !isZeroFlagged(table, index + i)) continue;
      if (!kept) replaced(table, index + i);
      setOwned(l2, table, index + i, advance(first, i * clusterSize));
      if (hasSubclusters && written !== undefined) {
        markWritten(metadata, table, index + i, advance(start, i * clusterSize), written);
      }
    }
  }
}

/** Makes data of the subclusters of the cluster at `start` that the range `written` has parts in. */
function markWritten(
  { geometry, l2 }: WritableMetadata,
  table: Table,
  index: number,
  start: GuestOffset,
  written: Edge,
): void {
  const { clusterSize, subclusterSize } = geometry;
  const from = Math.max(0, written.start - start);
  const to = Math.min(clusterSize, written.end - start);
  const mask = subclusterMask(Math.floor(from / subclusterSize), divideUp(to, subclusterSize));
  const zeros = zeroSubclusters(table, index) & ~mask;
  setSubclusters(l2, table, index, zeros, allocatedSubclusters(table, index) | mask);
}

/** Takes back the clusters of a reservation that is not going to be used. */
export async function giveBack(metadata: WritableMetadata, links: readonly Link[]): Promise<void> {
  const { clusterSize } = metadata.geometry;
  if (metadata.hasDataFile) return;
  for (const { host: first, count, kept } of links) {
    if (!kept) await metadata.allocator.release(first, count * clusterSize);
  }
}
