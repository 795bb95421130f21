import {
  advance,
  alignDown,
  alignUp,
  lower,
  type GuestOffset,
  type HostOffset,
} from "../../bytes/index.ts";
import { nowhere, type Edge } from "../../disk/index.ts";
import { hostClusterOf, isOwned, isZeroFlagged, setOwned } from "./l2-table.ts";
import type { WritableMetadata } from "./metadata.ts";
import type { Table } from "./tables.ts";

/** Consecutive entries of one L2 table that will point at consecutive host clusters. */
export interface Link {
  readonly l2Offset: HostOffset;
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

/** The L2 table that maps guest byte `at`, made if there is none. */
export async function tableFor(metadata: WritableMetadata, at: GuestOffset): Promise<Table> {
  const { geometry, l1, l2, allocator } = metadata;
  const index = Math.floor(at / geometry.l2Span);
  const offset = l1.l2Offset(index);
  if (offset !== 0) return l2.load(offset);
  const table = l2.create(await allocator.allocate(1));
  l1.set(index, table.offset);
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
  let host = nowhere;
  let position = at;
  try {
    while (position < end) {
      const distance = alignDown(position, clusterSize) - alignDown(at, clusterSize);
      const next = await nextLink(
        metadata,
        position,
        end,
        host === nowhere ? nowhere : advance(host, distance),
      );
      if (next === undefined) break;
      if (host === nowhere) host = next.host;
      links.push(next);
      position = lower(end, advance(alignDown(position, clusterSize), next.count * clusterSize));
    }
    return {
      end: position,
      host: advance(host, at % clusterSize),
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
  const common = { l2Offset: table.offset, index };
  let count = 1;
  if (isOwned(table, index)) {
    const host = hostClusterOf(table, index);
    if (place !== nowhere && host !== place) return undefined;
    while (
      count < limit &&
      isOwned(table, index + count) &&
      hostClusterOf(table, index + count) === host + count * clusterSize
    ) {
      count++;
    }
    return { ...common, count, host, kept: true };
  }
  while (count < limit && !isOwned(table, index + count)) count++;
  if (place === nowhere) {
    return { ...common, count, host: await allocator.allocate(count), kept: false };
  }
  count = await allocator.allocateAt(place, count);
  return count === 0 ? undefined : { ...common, count, host: place, kept: false };
}

/** The parts of the first and last cluster that a write of [at, end) leaves to be filled. */
async function edgesOf(
  metadata: WritableMetadata,
  at: GuestOffset,
  end: GuestOffset,
  links: readonly Link[],
): Promise<Edge[]> {
  const { clusterSize } = metadata.geometry;
  const edges: Edge[] = [];
  const first = links[0]!;
  const last = links.at(-1)!;
  const head = alignDown(at, clusterSize);
  const tail = alignUp(end, clusterSize);
  if (head < at && (await needsFilling(metadata, first, 0))) edges.push({ start: head, end: at });
  if (end < tail && (await needsFilling(metadata, last, last.count - 1))) {
    edges.push({ start: end, end: tail });
  }
  return edges;
}

/** New clusters hold nothing yet, and the bytes of a zero-flagged one are not what the guest sees. */
async function needsFilling(
  metadata: WritableMetadata,
  { kept, l2Offset, index }: Link,
  at: number,
): Promise<boolean> {
  if (!kept) return true;
  return isZeroFlagged(await metadata.l2.load(l2Offset), index + at);
}

/**
 * Points the L2 entries at their clusters. `replacing` is called when a table is about to change, and
 * the function it returns is told, without anybody else getting a turn, of each entry whose old
 * reference goes, before it goes.
 */
export async function link(
  metadata: WritableMetadata,
  links: readonly Link[],
  replacing: () => (table: Table, index: number) => void,
): Promise<void> {
  const { clusterSize } = metadata.geometry;
  for (const { l2Offset, index, count, host, kept } of links) {
    const table = await metadata.l2.load(l2Offset);
    const replaced = replacing();
    for (let i = 0; i < count; i++) {
      if (kept && !isZeroFlagged(table, index + i)) continue;
      if (!kept) replaced(table, index + i);
      setOwned(metadata.l2, table, index + i, advance(host, i * clusterSize));
    }
  }
}

/** Takes back the clusters of a reservation that is not going to be used. */
export async function giveBack(metadata: WritableMetadata, links: readonly Link[]): Promise<void> {
  const { clusterSize } = metadata.geometry;
  for (const { host, count, kept } of links) {
    if (!kept) await metadata.allocator.release(host, count * clusterSize);
  }
}
