import { divideUp } from "../../bytes/index.ts";
import { PlatterError } from "../../errors.ts";
import { bitmapState } from "./bitmap-extension.ts";
import { ClusterMarks } from "./cluster-marks.ts";
import { ExtensionType } from "./extensions.ts";
import { entrySize } from "./geometry.ts";
import type { L1Table } from "./l1-table.ts";
import type { WritableMetadata } from "./metadata.ts";
import { section } from "./overlap.ts";
import { readSnapshotL1 } from "./snapshot-l1.ts";
import type { Snapshot } from "./snapshot-table.ts";

/** What QEMU calls the sections, by the number of their bit. */
const names = [
  "qcow2_header",
  "active L1 table",
  "active L2 table",
  "refcount table",
  "refcount block",
  "snapshot table",
  "inactive L1 table",
  "inactive L2 table",
  "bitmap directory",
] as const;

/** QEMU's words for a write that would hit the sections in a mask: the first of them is named. */
export const refusal = (found: number): string =>
  `Preventing invalid write on metadata (overlaps with ${names[31 - Math.clz32(found & -found)]})`;

/**
 * Where an image's metadata is. The large tables, of which there are few, are kept as ranges of clusters;
 * L2 tables and refcount blocks as marks of single clusters. Tables that are added later have to be
 * added here, while those that go may stay: the answer "nothing is there" is always right.
 */
export class MetadataPlaces {
  private readonly clusterSize: number;
  private readonly l1: unknown;
  private readonly table: unknown;
  private readonly snapshots: unknown;
  private readonly extensions: unknown;
  /** First and end cluster and section of each table of which there is but one. */
  private readonly ranges: Float64Array;
  /** First and end cluster of the L1 tables of snapshots, in ascending order. */
  private readonly inactiveL1: Float64Array;
  private readonly marks: ClusterMarks;

  constructor(
    metadata: WritableMetadata,
    ranges: readonly number[],
    inactiveL1: readonly number[],
    marks: ClusterMarks,
  ) {
    this.clusterSize = metadata.geometry.clusterSize;
    this.l1 = metadata.l1;
    this.table = metadata.refcounts.table;
    this.snapshots = metadata.snapshots;
    this.extensions = metadata.header.extensions;
    this.ranges = Float64Array.from(ranges);
    this.inactiveL1 = Float64Array.from(inactiveL1);
    this.marks = marks;
  }

  /** Whether the image has the same large tables as when this was made. */
  isCurrent({ l1, refcounts, snapshots, header }: WritableMetadata): boolean {
    return (
      this.l1 === l1 &&
      this.table === refcounts.table &&
      this.snapshots === snapshots &&
      this.extensions === header.extensions
    );
  }

  /** The sections, of those in the mask, that have a cluster in common with the range. */
  find(offset: number, length: number, sections: number): number {
    const first = Math.floor(offset / this.clusterSize);
    const end = Math.floor((offset + length - 1) / this.clusterSize) + 1;
    const { ranges } = this;
    let found = 0;
    for (let i = 0; i < ranges.length; i += 3) {
      if (first < ranges[i + 1]! && end > ranges[i]!) found |= ranges[i + 2]!;
    }
    if (this.hasInactiveL1(first, end)) found |= section.inactiveL1;
    return (found | this.marks.find(first, end)) & sections;
  }

  private hasInactiveL1(first: number, end: number): boolean {
    const { inactiveL1 } = this;
    let low = 0;
    let high = inactiveL1.length / 2;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (inactiveL1[middle * 2 + 1]! <= first) low = middle + 1;
      else high = middle;
    }
    return low * 2 < inactiveL1.length && inactiveL1[low * 2]! < end;
  }

  /** Adds the cluster at `offset` to the sections of a mask. */
  add(offset: number, sections: number): void {
    mark(this.marks, offset, this.clusterSize, sections);
  }
}

/** Collects where the metadata of the sections in a mask is. Throws what reading tables of snapshots throws. */
export async function placesOf(
  metadata: WritableMetadata,
  sections: number,
): Promise<MetadataPlaces> {
  const { geometry } = metadata;
  const { clusterSize } = geometry;
  let marks: ClusterMarks;
  let snapshots: unknown;
  do {
    // Whoever changes something meanwhile does so before the rest is collected, which takes no time.
    ({ snapshots } = metadata);
    marks = new ClusterMarks();
    if ((sections & section.inactiveL2) !== 0) await markInactive(metadata, marks);
  } while (snapshots !== metadata.snapshots);
  const { l1, refcounts, storage } = metadata;
  if ((sections & section.activeL2) !== 0) {
    for (let i = 0; i < l1.length; i++) {
      const offset = l1.l2Offset(i);
      if (offset !== 0) mark(marks, offset, clusterSize, section.activeL2);
    }
  }
  if ((sections & section.refcountBlock) !== 0) {
    for (const offset of refcounts.table) {
      if (offset !== 0) mark(marks, offset, clusterSize, section.refcountBlock);
    }
  }
  const ranges = [0, 1, section.mainHeader];
  const add = (offset: number, length: number, kind: number): void => {
    if (length === 0) return;
    ranges.push(Math.floor(offset / clusterSize), divideUp(offset + length, clusterSize), kind);
  };
  add(l1.offset, l1.bytes.length, section.activeL1);
  add(refcounts.tableOffset, refcounts.table.length * entrySize, section.refcountTable);
  add(metadata.snapshots.offset, metadata.snapshots.size, section.snapshotTable);
  if (metadata.header.extensions.some(({ type }) => type === ExtensionType.bitmaps)) {
    const { extension } = bitmapState(metadata.header, storage.name);
    if (extension) add(extension.offset, extension.size, section.bitmapDirectory);
  }
  const inactiveL1 = inactiveTables(metadata.snapshots.entries, clusterSize);
  return new MetadataPlaces(metadata, ranges, inactiveL1, marks);
}

/** A table need not lie where a cluster begins, in an image that is damaged. */
function mark(marks: ClusterMarks, offset: number, clusterSize: number, sections: number): void {
  const first = Math.floor(offset / clusterSize);
  marks.add(first, sections);
  if (first * clusterSize !== offset) marks.add(first + 1, sections);
}

/** The L2 tables of snapshots, whose L1 tables are read one after the other. */
async function markInactive(metadata: WritableMetadata, marks: ClusterMarks): Promise<void> {
  const { storage, geometry, snapshots } = metadata;
  for (const snapshot of snapshots.entries) {
    let l1: L1Table;
    try {
      l1 = await readSnapshotL1(storage, geometry, snapshot);
    } catch (error) {
      if (!(error instanceof PlatterError)) throw error;
      const { code, message, details } = error;
      const qemu = code === "E_LIMIT" ? "File too large" : "Invalid argument";
      throw code === "E_IO" ? error : new PlatterError(code, message, { ...details, qemu });
    }
    for (let i = 0; i < l1.length; i++) {
      const offset = l1.l2Offset(i);
      if (offset !== 0) mark(marks, offset, geometry.clusterSize, section.inactiveL2);
    }
  }
}

/** First and end of the runs of clusters that the L1 tables of snapshots take, each cluster but once. */
function inactiveTables(snapshots: readonly Snapshot[], clusterSize: number): number[] {
  const places = snapshots
    .filter(({ l1Size }) => l1Size > 0)
    .map(({ l1Offset, l1Size }): [number, number] => [
      Math.floor(l1Offset / clusterSize),
      divideUp(l1Offset + l1Size * entrySize, clusterSize),
    ])
    .toSorted(([a], [b]) => a - b);
  const runs: number[] = [];
  for (const [first, end] of places) {
    const last = runs.length - 1;
    if (last > 0 && first <= runs[last]!) runs[last] = Math.max(runs[last]!, end);
    else runs.push(first, end);
  }
  return runs;
}
