import { divideUp, type HostOffset } from "../../bytes/index.ts";
import type { CheckImageOptions, CheckProblem, CheckReport } from "../../disk/index.ts";
import { throwIfAborted } from "../../errors.ts";
import {
  compressedBit,
  compressedOffsetBits,
  copiedBit,
  decodeCompressed,
  entry64,
  hostOffset,
  reservedHigh,
  reservedLow,
  zeroBit,
} from "./entries.ts";
import { CopiedFlags } from "./copied-flags.ts";
import { ExtensionType } from "./extensions.ts";
import { entrySize, maxL1Bytes } from "./geometry.ts";
import { address } from "./invalid.ts";
import type { L1Table } from "./l1-table.ts";
import { alike, hasCluster, lowerOf, upperOf } from "./l2-table.ts";
import type { Mender } from "./mender.ts";
import type { Metadata } from "./metadata.ts";
import { getRefcount } from "./refcount-block.ts";
import { ReferenceCounts } from "./reference-counts.ts";
import { StoredCounts } from "./stored-counts.ts";
import { allocatedSubclusters, isInvalid, zeroSubclusters } from "./subclusters.ts";
import { Table } from "./tables.ts";

/** L2 tables that are read before their turn comes. */
const tablesAhead = 8;

/** Problems that are described; the others are only counted. */
const maxProblems = 1000;

const hex = (value: number | bigint): string => value.toString(16);

/** Where a problem is. */
type Place = Required<Pick<CheckProblem, "hostOffset" | "guest">>;

/**
 * Compares the refcounts in an image with the references that there are, as `qemu-img check` does,
 * and counts what it counts. Works through the structures in QEMU's order, so that problems are
 * reported in it. The refcount table must have been loaded.
 */
export class Checker {
  readonly metadata: Metadata;
  readonly references: ReferenceCounts;
  readonly problems: CheckProblem[] = [];
  readonly found = { corruptions: 0, leaks: 0, checkErrors: 0 };
  /** Problems that were reported, listed or not. */
  reported = 0;
  /** The refcount structures themselves are damaged, so that repairing them in place is not enough. */
  needsRebuild = false;
  private hasSaidCorrupt = false;
  private readonly counts: StoredCounts;
  private readonly flags: CopiedFlags;
  private readonly options: CheckImageOptions;
  private readonly clusters = { allocated: 0, fragmented: 0, compressed: 0 };
  private highest = 0;

  private readonly mender: Mender | undefined;

  /** `mender` corrects what is found on the way, where that is possible at once. */
  constructor(metadata: Metadata, options: CheckImageOptions, mender?: Mender) {
    this.metadata = metadata;
    this.references = new ReferenceCounts(metadata.geometry);
    this.options = options;
    this.mender = mender;
    this.counts = new StoredCounts(metadata);
    this.flags = new CopiedFlags(metadata, {
      counts: this.counts,
      tableAt: async (offset) => ({
        table: await this.l2Table(offset),
        isInPlace: this.isInPlace(offset),
      }),
      add: (problem) => this.add(problem),
      signal: options.signal,
    });
  }

  async run(): Promise<CheckReport> {
    await this.checkSnapshots();
    await this.countReferences();
    await this.compareRefcounts();
    await this.checkCopiedFlags();
    return this.report;
  }

  get report(): CheckReport {
    const { geometry, diskSize } = this.metadata;
    this.options.onProgress?.({ done: diskSize, total: diskSize });
    return {
      totalClusters: divideUp(diskSize, geometry.clusterSize),
      allocatedClusters: this.clusters.allocated,
      fragmentedClusters: this.clusters.fragmented,
      compressedClusters: this.clusters.compressed,
      imageEndOffset: (this.highest + 1) * geometry.clusterSize,
      ...this.found,
      problems: this.problems,
      problemsOmitted: this.reported - this.problems.length,
    };
  }

  /** Reads the table of snapshots anew, and tells what is wrong with it; what is to be mended is counted. */
  async checkSnapshots(
    mends = false,
  ): Promise<{ readonly dropped: number; readonly mended: number }> {
    if (this.metadata.header.fields.nb_snapshots === 0) return { dropped: 0, mended: 0 };
    const { checkSnapshotTable } = await import("./snapshot-check.ts");
    const { problems, dropped, mended } = await checkSnapshotTable(this.metadata, mends);
    for (const problem of problems) this.add(problem);
    return { dropped, mended };
  }

  /** Counts everything that something refers to, in QEMU's order. */
  async countReferences(): Promise<void> {
    await this.countContents();
    const { refcounts } = this.metadata;
    this.refer(refcounts.tableOffset, refcounts.table.length * entrySize);
    await this.countRefcountBlocks();
  }

  /** Counts what is referred to, but for the refcounts themselves. */
  async countContents(): Promise<void> {
    const { geometry, l1 } = this.metadata;
    this.refer(0, geometry.clusterSize);
    await this.countL1Table(l1);
    await this.countSnapshots();
    const { encryption } = this.metadata;
    if (encryption?.place !== undefined) {
      this.refer(encryption.place.offset, encryption.place.length);
    }
    if (this.metadata.header.extensions.some(({ type }) => type === ExtensionType.bitmaps)) {
      const { countBitmaps } = await import("./bitmap-check.ts");
      await countBitmaps(this.metadata, (offset, length) => this.refer(offset, length));
    }
  }

  /** Counts a reference to each cluster that `length` bytes from `offset` on touch. */
  private refer(offset: number, length: number, where?: () => Place): void {
    if (length === 0) return;
    const { geometry, storage } = this.metadata;
    // The last cluster of a file need not be there in full.
    if (!(offset + length - storage.size < geometry.clusterSize)) {
      return this.add({
        kind: "error",
        message: behindTheEnd(offset, length),
        hostOffset: offset,
        ...(where && { guest: where().guest }),
      });
    }
    const first = Math.floor(offset / geometry.clusterSize);
    const last = Math.floor((offset + length - 1) / geometry.clusterSize);
    for (let index = first; index <= last; index++) {
      if (this.references.add(index)) continue;
      this.add({
        kind: "error",
        message: `ERROR: overflow cluster offset=0x${hex(index * geometry.clusterSize)}`,
        hostOffset: index * geometry.clusterSize,
      });
      this.add({
        kind: "note",
        message:
          "Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a " +
          "clean copy if the image cannot be opened for writing",
      });
    }
  }

  /** What snapshots refer to: their L1 tables, all behind them, and the table of snapshots. */
  private async countSnapshots(): Promise<void> {
    const { snapshots, storage, geometry } = this.metadata;
    if (this.metadata.hasDataFile && snapshots.entries.length > 0) {
      this.add({
        kind: "error",
        message: `ERROR ${snapshots.entries.length} snapshots in image with data file`,
        hostOffset: snapshots.offset,
      });
    }
    for (const snapshot of snapshots.entries) {
      const { id, name, l1Offset, l1Size } = snapshot;
      const wrong =
        l1Offset % geometry.clusterSize !== 0
          ? `l1_offset=0x${hex(l1Offset)}: L1 table is not cluster aligned`
          : l1Size * entrySize > maxL1Bytes
            ? `l1_size=0x${hex(l1Size)}: L1 table is too large`
            : undefined;
      if (wrong !== undefined) {
        this.add({
          kind: "error",
          message: `ERROR snapshot ${id} (${name}) ${wrong}; snapshot table entry corrupted`,
          hostOffset: snapshots.offset,
        });
        continue;
      }
      const { readSnapshotL1 } = await import("./snapshot-l1.ts");
      await this.countL1Table(await readSnapshotL1(storage, geometry, snapshot));
    }
    this.refer(snapshots.offset, snapshots.size);
  }

  /** What an L1 table refers to. Only the active one says how much is allocated and fragmented. */
  private async countL1Table(l1: L1Table): Promise<void> {
    this.refer(l1.offset, l1.bytes.length);
    for (let i = 0, next = 0; i < l1.length; i++) {
      while (next < l1.length && next <= i + tablesAhead) next = this.readAhead(l1, next);
      await this.countL1Entry(l1, i);
    }
  }

  /** Begins to read L2 tables that will be needed soon, from entry `next` on; returns which one is next then. */
  private readAhead(l1: L1Table, next: number): number {
    const { metadata } = this;
    const offset = l1.l2Offset(next);
    // What is wrong with it is told when its turn comes.
    if (offset === 0 || !this.isInPlace(offset)) return next + 1;
    const count = metadata.tablesInRow(l1, next);
    metadata.l2.loadAhead(offset, count);
    return next + count;
  }

  private async countL1Entry(l1: L1Table, index: number): Promise<void> {
    const { geometry } = this.metadata;
    const { signal, onProgress } = this.options;
    throwIfAborted(signal);
    const isActive = l1 === this.metadata.l1;
    if (isActive) {
      onProgress?.({ done: index * geometry.l2Span, total: l1.length * geometry.l2Span });
    }
    const offset = l1.l2Offset(index);
    // With a flag and no offset, the header is taken for a table, as QEMU takes it.
    if (offset === 0 && l1.raw(index) === 0n) return;
    const guest = { start: index * geometry.l2Span, end: (index + 1) * geometry.l2Span };
    const place = l1.offset + index * entrySize;
    if (l1.reservedBits(index)) {
      this.add({
        kind: "error",
        message: `ERROR found L1 entry with reserved bits set: ${hex(l1.raw(index))}`,
        hostOffset: place,
        guest,
      });
    }
    this.refer(offset, geometry.clusterSize, () => ({ hostOffset: place, guest }));
    if (offset % geometry.clusterSize !== 0) {
      this.add({
        kind: "error",
        message: `ERROR l2_offset=${hex(offset)}: Table is not cluster aligned; L1 entry corrupted`,
        hostOffset: place,
        guest,
      });
    }
    if (isActive) this.flags.note(l1.isCopied(index), await this.counts.at(offset));
    await this.countL2Table(await this.l2Table(offset), guest.start, isActive);
  }

  /**
   * The L2 table at `offset`. One that is misplaced is read all the same, as QEMU reads it, with zeros past
   * the end of the file: what it refers to is not to be taken for lost.
   */
  private async l2Table(offset: HostOffset): Promise<Table> {
    const { geometry, storage, l2 } = this.metadata;
    if (this.isInPlace(offset)) return l2.load(offset);
    const bytes = new Uint8Array(geometry.clusterSize);
    if (offset < storage.size) await storage.read(offset, bytes);
    return new Table(offset, bytes, geometry.l2EntrySize);
  }

  /** Whether a table can be there; one that is somewhere else is not repaired. */
  private isInPlace(offset: HostOffset): boolean {
    const { geometry, storage } = this.metadata;
    // The first cluster is the header, whatever an entry says.
    const isPossible = offset > 0 && offset % geometry.clusterSize === 0;
    return isPossible && offset + geometry.clusterSize <= storage.size;
  }

  private async countL2Table(table: Table, tableStart: number, isActive: boolean): Promise<void> {
    const { geometry } = this.metadata;
    const { clusterSize, clusterBits, l2Entries, hasSubclusters } = geometry;
    const isPlain = !hasSubclusters && !this.metadata.hasDataFile;
    const fileEnd = this.metadata.storage.size;
    let next = 0;
    for (let index = 0; index < l2Entries; index++) {
      const upper = upperOf(table, index);
      const lower = lowerOf(table, index);
      // Almost all entries are like that: nothing is made for them, for there can be billions.
      if (
        isPlain &&
        (upper & (compressedBit | reservedHigh)) === 0 &&
        (lower & reservedLow) === 0
      ) {
        const host = hostOffset(upper, lower);
        if (host === 0) {
          index += alike(table, index + 1, l2Entries - index - 1, 0);
          continue;
        }
        if (host % clusterSize === 0 && host + clusterSize <= fileEnd) {
          const most = Math.min(l2Entries - index, Math.floor((fileEnd - host) / clusterSize));
          const length = 1 + alike(table, index + 1, most - 1, clusterSize);
          const counted = this.references.addRun(host / clusterSize, length);
          if (counted > 0) {
            index += counted - 1;
            if (!isActive) continue;
            this.clusters.allocated += counted;
            if (next !== 0 && host !== next) this.clusters.fragmented++;
            next = host + counted * clusterSize;
            const copied = (upper & copiedBit) !== 0;
            const known = this.flags.noteCached(copied, host, next);
            if (known < next) await this.flags.noteRun(copied, known, next);
            continue;
          }
        }
      }
      const zeros = hasSubclusters ? zeroSubclusters(table, index) : 0;
      const data = hasSubclusters ? allocatedSubclusters(table, index) : 0;
      if (upper === 0 && lower === 0 && data === 0) continue;
      const where = (): Place => {
        const start = tableStart + index * clusterSize;
        const guest = { start, end: start + clusterSize };
        return { hostOffset: table.offset + index * table.entrySize, guest };
      };
      if ((upper & compressedBit) !== 0) {
        if (this.metadata.hasDataFile) {
          this.add({
            kind: "error",
            message:
              `ERROR compressed cluster ${index} with data file, ` +
              `entry=0x${hex(entry64(upper, lower))}`,
            ...where(),
          });
          continue;
        }
        const { offset, length } = decodeCompressed(upper, lower, clusterBits);
        if ((upper & copiedBit) !== 0) {
          this.add({
            kind: "error",
            message:
              `ERROR: coffset=0x${hex(offset)}: copied flag must never be set for compressed ` +
              `clusters`,
            ...where(),
          });
        }
        if (zeros !== 0 || data !== 0) {
          this.add({
            kind: "error",
            message:
              `ERROR compressed cluster ${index} with non-zero subcluster allocation bitmap, ` +
              `entry=0x${hex(entry64((upper & ~copiedBit) >>> 0, lower))}`,
            ...where(),
          });
          continue;
        }
        if (Number.isFinite(offset)) this.refer(offset, length, where);
        else {
          const place = compressedOffset(upper, lower, clusterBits);
          this.add({ kind: "error", message: behindTheEnd(place, length), ...where() });
        }
        if (!isActive) continue;
        this.clusters.allocated++;
        this.clusters.compressed++;
        // Packed clusters are fragmented by nature.
        this.clusters.fragmented++;
        continue;
      }
      if ((upper & reservedHigh) !== 0 || (lower & reservedLow) !== 0) {
        this.add({
          kind: "error",
          message: `ERROR found l2 entry with reserved bits set: ${hex(entry64(upper, lower))}`,
          ...where(),
        });
      }
      const host = hostOffset(upper, lower);
      const hasPlace = hasCluster(table, index, this.metadata.hasDataFile);
      if (isInvalid(hasPlace, zeros, data)) {
        this.add({
          kind: "error",
          message: hasPlace
            ? `ERROR offset=${hex(host)}: Allocated cluster has corrupted subcluster allocation bitmap`
            : "ERROR: Unallocated cluster has non-zero subcluster allocation map",
          ...where(),
        });
      }
      if (!hasPlace) continue;
      this.flags.noteUnknown();
      const isZero = hasSubclusters ? data === 0 : (lower & zeroBit) !== 0;
      const { mender } = this;
      const mends = host % clusterSize !== 0 && isZero && this.isInPlace(table.offset);
      if (mends && mender?.errors === true) {
        // Nothing is lost with the place of zeros.
        mender.zeroEntry(table, index);
        mender.fixed.corruptions++;
        this.add({ kind: "note", message: `Repairing ${this.unaligned(host, true)}`, ...where() });
        continue;
      }
      if (isActive) {
        this.clusters.allocated++;
        if (next !== 0 && host !== next) this.clusters.fragmented++;
        next = host + clusterSize;
      }
      if (host % clusterSize !== 0) {
        this.add({
          kind: "error",
          message: `ERROR ${this.unaligned(host, isZero)}`,
          ...where(),
        });
      }
      // What lies in a data file is not counted.
      if (!this.metadata.hasDataFile) this.refer(host, clusterSize, where);
    }
  }

  private unaligned(host: number, zero: boolean): string {
    return zero
      ? `offset=${hex(host)}: Preallocated cluster is not properly aligned; L2 entry corrupted.`
      : `offset=${hex(host)}: Data cluster is not properly aligned; L2 entry corrupted.`;
  }

  private async countRefcountBlocks(): Promise<void> {
    const { geometry, refcounts, storage } = this.metadata;
    const clusters = divideUp(storage.size, geometry.clusterSize);
    const raw = new Uint8Array(refcounts.table.length * entrySize);
    await storage.read(refcounts.tableOffset, raw);
    refcounts.table.forEach((offset, i) => {
      const place = refcounts.tableOffset + i * entrySize;
      const [bit8 = 0, low = 0] = raw.subarray((i + 1) * entrySize - 2, (i + 1) * entrySize);
      if ((bit8 & 1) !== 0 || low !== 0) {
        this.needsRebuild = true;
        return this.add({
          kind: "error",
          message: `ERROR refcount table entry ${i} has reserved bits set`,
          hostOffset: place,
        });
      }
      if (offset === 0) return;
      if (offset % geometry.clusterSize !== 0) {
        this.needsRebuild = true;
        return this.add({
          kind: "error",
          message: `ERROR refcount block ${i} is not cluster aligned; refcount table entry corrupted`,
          hostOffset: place,
        });
      }
      const index = offset / geometry.clusterSize;
      if (index >= clusters) {
        // It counts nothing that is there, so leaks can be repaired without it.
        this.needsRebuild ||= this.mender?.errors === true;
        return this.add({
          kind: "error",
          message: `ERROR refcount block ${i} is outside image`,
          hostOffset: place,
        });
      }
      this.refer(offset, geometry.clusterSize);
      const count = this.references.get(index);
      if (count === 1) return;
      this.needsRebuild = true;
      this.add({
        kind: "error",
        message: `ERROR refcount block ${i} refcount=${count}`,
        hostOffset: offset,
      });
    });
  }

  /** Compares counts cluster by cluster, and corrects those that `mender` may. */
  async compareRefcounts(mender?: Mender): Promise<void> {
    const { geometry, refcounts, storage } = this.metadata;
    const { clusterSize, refcountsPerBlock } = geometry;
    const clusters = Math.max(divideUp(storage.size, clusterSize), this.references.end);
    this.highest = 0;
    for (const first of this.firstOfBlocks(clusters)) {
      throwIfAborted(this.options.signal);
      const end = Math.min(clusters, first + refcountsPerBlock);
      const block = refcounts.blockOffset(first);
      if (block % clusterSize !== 0) {
        this.cannotCount(first, end, block);
        continue;
      }
      const hasBlock = this.counts.isReadable(block);
      if (!hasBlock && !this.references.mayHave(first, end)) continue;
      const table = hasBlock ? await refcounts.block(first) : undefined;
      for (let index = first; index < end; index++) {
        const stored =
          table === undefined ? 0 : getRefcount(table.view, index - first, geometry.refcountOrder);
        const counted = this.references.get(index);
        if (stored > 0 || counted > 0) this.highest = index;
        if (stored === counted) continue;
        if (stored === 0) this.needsRebuild = true;
        await this.compareCount(index, stored, counted, mender);
      }
    }
  }

  /**
   * First clusters, below `clusters`, of the refcount blocks that are there or would count something. How
   * long the file is does not matter: holes cost nothing to make.
   */
  private *firstOfBlocks(clusters: number): Generator<number> {
    const { refcounts, geometry } = this.metadata;
    const { refcountsPerBlock } = geometry;
    const covered = Math.min(clusters, refcounts.table.length * refcountsPerBlock);
    for (let first = 0; first < covered; first += refcountsPerBlock) yield first;
    for (const first of this.references.blocks(refcountsPerBlock)) {
      if (first >= covered && first < clusters) yield first;
    }
  }

  /** An impossible place of a refcount block: what it counts cannot be told. */
  private cannotCount(first: number, end: number, block: number): void {
    const { geometry } = this.metadata;
    if (!this.hasSaidCorrupt) {
      const index = Math.floor(first / geometry.refcountsPerBlock);
      this.hasSaidCorrupt = true;
      this.add({
        kind: "note",
        message:
          `qcow2: Image is corrupt: Refblock offset 0x${hex(block)} unaligned (reftable index: ` +
          `${address(index)}); further non-fatal corruption events will be suppressed`,
      });
    }
    for (let cluster = first; cluster < end; cluster++) {
      this.add({
        kind: "check-error",
        message: `Can't get refcount for cluster ${cluster}: Input/output error`,
        hostOffset: cluster * geometry.clusterSize,
      });
    }
  }

  private async compareCount(
    index: number,
    stored: number,
    counted: number,
    mender: Mender | undefined,
  ): Promise<void> {
    const isLeak = stored > counted;
    const mends = isLeak ? mender?.leaks : mender?.errors;
    // A count that has no block cannot be corrected.
    const corrects = mends === true && stored > 0;
    const place = { hostOffset: index * this.metadata.geometry.clusterSize };
    const word = corrects ? "Repairing" : isLeak ? "Leaked" : "ERROR";
    const message = `${word} cluster ${index} refcount=${stored} reference=${counted}`;
    if (corrects) {
      await mender!.setCount(index, counted);
      mender!.fixed[isLeak ? "leaks" : "corruptions"]++;
      this.add({ kind: "note", message, ...place });
    } else this.add({ kind: isLeak ? "leak" : "error", message, ...place });
  }

  /** See {@link CopiedFlags.check}. */
  async checkCopiedFlags(mender?: Mender): Promise<void> {
    // All tables would have to be read again, to find nothing. Not so if counts may have been corrected.
    if (this.flags.areRight && this.mender === undefined) return;
    await this.flags.check(mender);
  }

  /** Takes note of a problem. */
  add(problem: CheckProblem): void {
    if (problem.kind === "leak") this.found.leaks++;
    else if (problem.kind === "error") this.found.corruptions++;
    else if (problem.kind === "check-error") this.found.checkErrors++;
    this.reported++;
    if (this.problems.length < maxProblems) this.problems.push(problem);
  }
}

const behindTheEnd = (offset: number | bigint, length: number): string =>
  `ERROR: counting reference for region exceeding the end of the file by one cluster or ` +
  `more: offset 0x${hex(offset)} size 0x${hex(length)}`;

/** The offset of a compressed cluster, however large. */
const compressedOffset = (upper: number, lower: number, clusterBits: number): bigint =>
  BigInt.asUintN(compressedOffsetBits(clusterBits), entry64(upper, lower));
