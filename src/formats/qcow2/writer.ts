import {
  advance,
  alignDown,
  alignUp,
  divideUp,
  guest,
  lower,
  type GuestOffset,
  type HostOffset,
} from "../../bytes/index.ts";
import type { Leases } from "../../disk/index.ts";
import {
  RangeLock,
  Serial,
  nowhere,
  type BackingReference,
  type Change,
  type Edge,
  type ImageWriter,
  type Places,
  type ResizeOptions,
} from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import { discardInDataFile, zeroDataFile } from "./data-file.ts";
import { compressedBit, compressedOffsetBits, encodeCompressed, zeroBit } from "./entries.ts";
import { address } from "./invalid.ts";
import { hasCluster, isCompressed, lowerOf, referenced, setEntry, upperOf } from "./l2-table.ts";
import type { WritableMetadata } from "./metadata.ts";
import { emptyFrom, giveBack, link, reserve, tableFor, type Link } from "./reservation.ts";
import { makeEmpty, resize } from "./resize.ts";
import {
  allSubclusters,
  allocatedSubclusters,
  refuseInvalid,
  setSubclusters,
  subclusterMask,
  zeroSubclusters,
} from "./subclusters.ts";
import type { Table } from "./tables.ts";
import type { Release } from "./write-back.ts";

/** What keeps bitmaps in step with the disk. */
interface BitmapTracker {
  list(): readonly unknown[];
  /** Throws when a bitmap is in the way of resizing. */
  refuseResize(size: number): void;
  resized(size: number): void;
  /** Writes all bitmaps to the storage. */
  store(): Promise<void>;
}

/** Guest bytes for which it is worth asking for all places at once. */
const manyBytes = 32 * 1024 * 1024;

/** What an entry shall become; the words of the bitmap are for extended entries. */
type NewEntry = (
  table: Table,
  index: number,
) => readonly [upper: number, lower: number, zeros: number, allocated: number];

/**
 * The write verbs of a qcow2 image: they find and make places for guest clusters and switch the L2
 * entries when the data is there. Places are handed out as QEMU does it.
 */
export class Qcow2Writer implements ImageWriter {
  private readonly metadata: WritableMetadata;
  private readonly leases: Leases;
  private readonly hasBacking: boolean;
  /** A compressed cluster has been written. */
  private packed = false;
  private closed = false;
  /** Set while the image has bitmaps that follow what is written. */
  bitmaps: BitmapTracker | undefined;
  private readonly ranges = new RangeLock();
  /** Everything that reads or changes metadata across an await runs in here. */
  private readonly serial = new Serial();

  declare readonly ensureMany?: NonNullable<ImageWriter["ensureMany"]>;

  constructor(metadata: WritableMetadata, leases: Leases, hasBacking: boolean) {
    this.metadata = metadata;
    this.leases = leases;
    this.hasBacking = hasBacking;
    const { hasSubclusters, l2Span } = metadata.geometry;
    // Where a table maps little, its places come to an end before there are many.
    if (!metadata.hasDataFile && !hasSubclusters && l2Span >= manyBytes) {
      this.ensureMany = (at, end, most) => this.placesInRow(at, end, most);
    }
  }

  async ensure(at: GuestOffset, end: GuestOffset): Promise<Change> {
    const { clusterSize } = this.metadata.geometry;
    const claim = await this.ranges.claim(alignDown(at, clusterSize), alignUp(end, clusterSize));
    const free = claim.release;
    const { links, ...found } = await this.guarded(free, async () => {
      this.checkInside(end);
      const reservation = await reserve(this.metadata, at, end);
      await this.refuseMetadata(reservation.host, reservation.end - at);
      return reservation;
    });
    // The rest is another change's.
    claim.narrow(alignUp(found.end, clusterSize));
    const written = {
      start: lower(at, found.edges[0]?.start ?? at),
      end: guest(Math.max(found.end, found.edges.at(-1)?.end ?? 0)),
    };
    return {
      start: at,
      ...found,
      commit: () => this.settle(free, () => this.link(links, written)),
      abort: () => this.settle(free, () => giveBack(this.metadata, links)),
    };
  }

  private async placesInRow(
    at: GuestOffset,
    end: GuestOffset,
    most: number,
  ): Promise<Places | undefined> {
    const { clusterSize, l2Span } = this.metadata.geometry;
    const stop = lower(end, advance(alignDown(at, l2Span), l2Span));
    if (at % clusterSize !== 0) return undefined;
    const claim = await this.ranges.claim(at, alignUp(stop, clusterSize));
    const free = claim.release;
    const found = await this.guarded(free, async () => {
      this.checkInside(stop);
      const room = await emptyFrom(this.metadata, at, stop);
      if (room === undefined) return undefined;
      const wanted = Math.min(room.count, Math.floor(most / clusterSize));
      const places = await this.metadata.allocator.allocateNext(wanted);
      if (places === undefined) return undefined;
      await this.refuseMetadata(places.offset, places.count * clusterSize);
      return { ...room, ...places, covered: places.count < wanted ? places.count : room.count };
    });
    if (found === undefined) {
      free();
      return undefined;
    }
    const { l2Offset, index, offset, count } = found;
    const covered = advance(at, found.covered * clusterSize);
    claim.narrow(covered);
    const giveTail = (used: number): Promise<void> =>
      used === count
        ? Promise.resolve()
        : this.metadata.allocator.release(
            advance(offset, used * clusterSize),
            (count - used) * clusterSize,
          );
    return {
      end: covered,
      placing: "next",
      host: offset,
      commit: (runs) =>
        this.settle(free, async () => {
          let used = 0;
          const links = runs.map(({ start, end: runEnd }) => {
            const clusters = (runEnd - start) / clusterSize;
            const first = (start - at) / clusterSize;
            const place = advance(offset, used * clusterSize);
            used += clusters;
            return {
              l2Offset,
              start,
              index: index + first,
              count: clusters,
              host: place,
              kept: false,
            };
          });
          await giveTail(used);
          await this.link(links, undefined);
        }),
      abort: () => this.settle(free, () => giveTail(0)),
    };
  }

  async ensureCompressed(at: GuestOffset, packedLength: number): Promise<Change> {
    const { clusterSize, clusterBits } = this.metadata.geometry;
    if (this.metadata.hasDataFile) throw this.notCompressible();
    const { release: free } = await this.ranges.claim(at, at + clusterSize);
    const maxOffset = Math.min(2 ** compressedOffsetBits(clusterBits) - 1, Number.MAX_SAFE_INTEGER);
    this.packed = true;
    const host = await this.guarded(free, async () => {
      this.checkInside(advance(at, 1));
      await tableFor(this.metadata, at);
      const place = await this.metadata.allocator.allocatePacked(packedLength, maxOffset);
      await this.refuseMetadata(place, packedLength);
      return place;
    });
    return {
      start: at,
      end: lower(advance(at, clusterSize), guest(this.metadata.diskSize)),
      host,
      edges: [],
      commit: () =>
        this.settle(free, () =>
          this.replace(at, advance(at, clusterSize), () => {
            const [upper, bits] = encodeCompressed(host, packedLength, clusterBits);
            return [upper, bits, 0, 0];
          }),
        ),
      abort: () => this.settle(free, () => this.metadata.allocator.release(host, packedLength)),
    };
  }

  async zero(
    at: GuestOffset,
    end: GuestOffset,
    { unmap }: { readonly unmap: boolean },
  ): Promise<Change | undefined> {
    if (this.metadata.header.fields.version < 3) {
      // Version 2 cannot say "zeros", but what is not there reads as such if nothing is behind it.
      return !this.hasBacking ? this.discard(at, end) : undefined;
    }
    const { hasSubclusters, clusterSize } = this.metadata.geometry;
    const whole = hasSubclusters ? this.wholeForZeroing(end) : end;
    if (hasSubclusters && (at % clusterSize !== 0 || this.lastWhole(whole) <= at)) {
      return this.zeroSubclusters(at, end);
    }
    const external = this.metadata.hasDataFile;
    return this.wholeClusters(at, whole, unmap, (table, index) => {
      const drop = isCompressed(table, index) || (unmap && hasCluster(table, index, external));
      const flag = hasSubclusters ? 0 : zeroBit;
      return drop
        ? [0, flag, allSubclusters, 0]
        : [upperOf(table, index), lowerOf(table, index) | flag, allSubclusters, 0];
    });
  }

  async discard(at: GuestOffset, end: GuestOffset): Promise<Change | undefined> {
    const version3 = this.metadata.header.fields.version >= 3;
    // Version 2 cannot say "zeros", and an unallocated cluster would show the backing image's data.
    if (!version3 && this.hasBacking) return undefined;
    const { hasSubclusters } = this.metadata.geometry;
    const external = this.metadata.hasDataFile;
    return this.wholeClusters(at, end, true, (table, index) => {
      const isEmpty = !isCompressed(table, index) && !hasCluster(table, index, external);
      // Some of its subclusters may be zeros already.
      if (isEmpty && !this.hasBacking) {
        const zeros = hasSubclusters ? zeroSubclusters(table, index) : 0;
        return [upperOf(table, index), lowerOf(table, index), zeros, 0];
      }
      return [0, version3 && !hasSubclusters ? zeroBit : 0, allSubclusters, 0];
    });
  }

  async resize(size: number, options: ResizeOptions): Promise<void> {
    await this.exclusively(async () => {
      this.bitmaps?.refuseResize(size);
      await resize(this.metadata, size, options, () => this.leases.advance());
      this.bitmaps?.resized(size);
    });
  }

  async setBacking(reference: BackingReference | undefined): Promise<void> {
    await this.exclusively(async () => {
      await this.metadata.writeBack.flush(true);
      await this.metadata.setBacking(reference);
      await this.metadata.storage.flush();
    });
  }

  async makeEmpty(): Promise<void> {
    await this.exclusively(() => makeEmpty(this.metadata, () => this.leases.advance()));
  }

  /** Runs `task` when the changes under way are done; those that come later wait for it. */
  async exclusively(task: () => Promise<void>): Promise<void> {
    const { release: free } = await this.ranges.claim(0, Infinity);
    await this.settle(free, task);
  }

  async flush(): Promise<void> {
    this.metadata.corruption.refuseUse();
    await this.serial.run(() => this.metadata.writeBack.flush(true));
  }

  /** Writes everything out, when the changes under way are done. */
  async finish(durable: boolean): Promise<void> {
    await this.exclusively(async () => {
      if (this.metadata.corruption.isFatal) return;
      await this.padToSector();
      await this.metadata.writeBack.finish(durable);
    });
  }

  /** Stores the bitmaps, which nothing can be recorded in afterwards. */
  async storeBitmaps(): Promise<void> {
    await this.exclusively(async () => this.bitmaps?.store());
  }

  /** As {@link Qcow2Writer.finish}; no change can be begun afterwards. */
  async close(): Promise<void> {
    this.closed = true;
    // What is in the file is all that can be had of it.
    if (this.metadata.corruption.isFatal) return;
    try {
      await this.storeBitmaps();
    } finally {
      await this.finish(false);
    }
  }

  /** Throws `E_CORRUPT`, with the image marked, when a place for data is one that metadata has. */
  private async refuseMetadata(place: HostOffset, length: number): Promise<void> {
    const { overlap, corruption, hasDataFile, geometry } = this.metadata;
    if (hasDataFile) return;
    await overlap.prevent(place, length);
    if (place >= geometry.clusterSize) return;
    // An entry cannot say so, whatever is not to be checked.
    throw await corruption.signal("Preventing invalid allocation of data cluster at offset 0");
  }

  private notCompressible(): PlatterError {
    const { storage, dataFile } = this.metadata;
    const file = storage.name;
    return new PlatterError(
      "E_UNSUPPORTED",
      `${file}: the data is in a file of its own (${dataFile?.storage.name}), where nothing is ` +
        `compressed; leave compression out`,
      { file, field: "data file", qemu: "Operation not supported" },
    );
  }

  /** A request may have waited while the disk was made smaller or closed. */
  private checkInside(end: GuestOffset): void {
    this.metadata.corruption.refuseUse();
    const { storage, diskSize } = this.metadata;
    const file = storage.name;
    if (this.closed)
      throw new PlatterError("E_CLOSED", `${file}: the image has been closed`, { file });
    if (end <= diskSize) return;
    throw new PlatterError(
      "E_OUT_OF_RANGE",
      `${file}: a request up to ${end} reaches past the end of the disk, which now has ${diskSize} bytes`,
      { file, offset: end, value: diskSize },
    );
  }

  /** Packed clusters may end the file anywhere; whole sectors are easier to read for everybody. */
  private async padToSector(): Promise<void> {
    const { storage } = this.metadata;
    if (storage.size % 512 !== 0 && this.packed)
      await storage.truncate?.(alignUp(storage.size, 512));
  }

  /** Where the whole clusters before `end` end; the end of the disk ends a cluster. */
  private lastWhole(end: GuestOffset): GuestOffset {
    const { geometry, diskSize } = this.metadata;
    return end === diskSize ? end : alignDown(end, geometry.clusterSize);
  }

  /**
   * Where zeroing by clusters ends and by subclusters goes on. Up to an end of the disk inside a
   * subcluster QEMU makes two requests, and so takes the last cluster by subclusters.
   */
  private wholeForZeroing(end: GuestOffset): GuestOffset {
    const { clusterSize, subclusterSize } = this.metadata.geometry;
    const cut = end % subclusterSize !== 0 && end % clusterSize > subclusterSize;
    return cut ? alignDown(end, clusterSize) : end;
  }

  /**
   * Makes the subclusters of [at, end) inside the cluster of `at` read as zeros; the cluster keeps its
   * place. Undefined for a compressed cluster, which has no subclusters.
   */
  private async zeroSubclusters(at: GuestOffset, end: GuestOffset): Promise<Change | undefined> {
    this.checkInside(end);
    const { geometry, l1, corruption, diskSize } = this.metadata;
    const { clusterSize, subclusterSize, l2Entries, l2Span } = geometry;
    const cluster = alignDown(at, clusterSize);
    const start = alignUp(at, subclusterSize);
    const clusterEnd = advance(cluster, clusterSize);
    const stop = lower(end === diskSize ? end : alignDown(end, subclusterSize), clusterEnd);
    if (start >= stop) return undefined;
    const index = Math.floor(at / clusterSize) % l2Entries;
    const { release: free } = await this.ranges.claim(cluster, clusterEnd);
    if (this.closed || this.metadata.diskSize !== diskSize) {
      free();
      return this.zeroSubclusters(at, end);
    }
    const possible = await this.guarded(free, async () => {
      const offset = l1.l2Offset(Math.floor(at / l2Span));
      if (offset === 0) return true;
      const table = await this.metadata.loadL2(offset, Math.floor(at / l2Span));
      if (isCompressed(table, index)) return false;
      await refuseInvalid(corruption, table, index, 1, this.metadata.hasDataFile);
      return true;
    });
    if (!possible) {
      free();
      return undefined;
    }
    const mask = subclusterMask(
      (start - cluster) / subclusterSize,
      divideUp(stop - cluster, subclusterSize),
    );
    return {
      start,
      end: stop,
      host: nowhere,
      edges: [],
      commit: () =>
        this.replaceAll(free, start, stop, false, () =>
          this.replace(cluster, clusterEnd, (table) => [
            upperOf(table, index),
            lowerOf(table, index),
            (zeroSubclusters(table, index) | mask) >>> 0,
            (allocatedSubclusters(table, index) & ~mask) >>> 0,
          ]),
        ),
      abort: () => this.settle(free, () => Promise.resolve()),
    };
  }

  /**
   * A change of the entries of the whole clusters in [at, end), as far as one L2 table reaches. The
   * end of the disk counts as the end of a cluster.
   */
  private async wholeClusters(
    at: GuestOffset,
    end: GuestOffset,
    unmap: boolean,
    entry: NewEntry,
  ): Promise<Change | undefined> {
    this.checkInside(end);
    const { geometry, diskSize } = this.metadata;
    const { clusterSize, l2Span } = geometry;
    const start = alignUp(at, clusterSize);
    const stop = lower(this.lastWhole(end), advance(alignDown(start, l2Span), l2Span));
    if (start >= stop) return undefined;
    const { release: free } = await this.ranges.claim(start, alignUp(stop, clusterSize));
    if (this.closed || this.metadata.diskSize !== diskSize) {
      free();
      return this.wholeClusters(at, end, unmap, entry);
    }
    return {
      start,
      end: stop,
      host: nowhere,
      edges: [],
      commit: () =>
        this.replaceAll(free, start, stop, unmap, () => this.replace(start, stop, entry)),
      abort: () => this.settle(free, () => Promise.resolve()),
    };
  }

  /**
   * The last step of a change of the guest bytes [start, end) to zeros, which `replace` makes in the
   * tables. A data file that has to stay valid as a raw image gets the zeros too: when writes that
   * had found the old mapping are done, so that none of them comes after.
   */
  private async replaceAll(
    free: () => void,
    start: GuestOffset,
    end: GuestOffset,
    unmap: boolean,
    replace: () => Promise<void>,
  ): Promise<void> {
    const { dataFile, dataStorage } = this.metadata;
    const settled = dataFile?.raw === true ? () => undefined : free;
    try {
      await this.settle(settled, async () => {
        if (dataFile?.raw === false && unmap) await this.discardOutside(start, end);
        await replace();
      });
      if (dataFile?.raw !== true) return;
      await this.leases.drain();
      await zeroDataFile(dataStorage, start, end, unmap);
    } finally {
      if (dataFile?.raw === true) free();
    }
  }

  /** Clusters of a data file that lose their place: nothing else can have it, so they go at once. */
  private async discardOutside(start: GuestOffset, end: GuestOffset): Promise<void> {
    const { dataStorage, geometry } = this.metadata;
    const { clusterSize, l2Entries } = geometry;
    const table = await tableFor(this.metadata, start);
    let from = start;
    for (let at = start; at < end;) {
      const index = Math.floor(at / clusterSize) % l2Entries;
      const next = advance(at, clusterSize);
      if (!hasCluster(table, index, true)) {
        await discardInDataFile(dataStorage, from, at);
        from = next;
      }
      at = next;
    }
    await discardInDataFile(dataStorage, from, end);
  }

  /** Replaces the entries of the clusters in [start, end) and releases what they referred to. */
  private async replace(start: GuestOffset, end: GuestOffset, entry: NewEntry): Promise<void> {
    const { clusterSize, l2Entries, hasSubclusters } = this.metadata.geometry;
    const table = await tableFor(this.metadata, start);
    const ready = this.leases.advance();
    for (let at = start; at < end; at = advance(at, clusterSize)) {
      const index = Math.floor(at / clusterSize) % l2Entries;
      const [upper, bits, zeros, allocated] = entry(table, index);
      const oldUpper = upperOf(table, index);
      const oldLower = lowerOf(table, index);
      if (
        hasSubclusters &&
        (zeros !== zeroSubclusters(table, index) ||
          allocated !== allocatedSubclusters(table, index))
      ) {
        setSubclusters(this.metadata.l2, table, index, zeros, allocated);
      }
      if (upper === oldUpper && bits === oldLower) continue;
      const keeps =
        ((upper | oldUpper) & compressedBit) === 0 &&
        upper === oldUpper &&
        (bits | zeroBit) === (oldLower | zeroBit);
      if (!keeps) this.releaseEntry(table, index, { punch: true, ready });
      setEntry(this.metadata.l2, table, index, upper, bits);
    }
    await this.relieve();
  }

  private async link(links: readonly Link[], written: Edge | undefined): Promise<void> {
    await link(this.metadata, links, written, () => {
      const ready = this.leases.advance();
      return (table, index) => this.releaseEntry(table, index, { punch: false, ready });
    });
    await this.relieve();
  }

  /** Lets go, once that is safe, of what an entry refers to. */
  private releaseEntry(table: Table, index: number, how: Pick<Release, "punch" | "ready">): void {
    // What lies in a data file is not counted.
    if (this.metadata.hasDataFile) return;
    const range = referenced(table, index, this.metadata.geometry);
    if (range === undefined) return;
    const { corruption, geometry } = this.metadata;
    if (!isCompressed(table, index) && range.offset % geometry.clusterSize !== 0) {
      corruption.note(`Cannot free unaligned cluster ${address(range.offset)}`);
      return;
    }
    this.metadata.writeBack.releaseLater({ ...range, ...how });
  }

  /** Writes dirty tables out when they take up too much memory. */
  private async relieve(): Promise<void> {
    if (this.metadata.l2.crowded) await this.metadata.writeBack.flush(false);
  }

  /** Runs `task` in turn; gives the claimed range back if it fails. */
  private async guarded<T>(free: () => void, task: () => Promise<T>): Promise<T> {
    try {
      return await this.serial.run(task);
    } catch (error) {
      free();
      throw error;
    }
  }

  /** Runs the last step of a change in turn, and gives its range back. */
  private async settle(free: () => void, task: () => Promise<void>): Promise<void> {
    try {
      await this.serial.run(task);
    } finally {
      free();
    }
  }
}
