import { divideUp, type HostOffset } from "../../bytes/index.ts";
import {
  findSnapshot,
  type Leases,
  type NewSnapshot,
  type SnapshotInfo,
  type SnapshotReference,
  type Snapshots,
} from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import { entrySize, maxL1Bytes } from "./geometry.ts";
import { invalid } from "./invalid.ts";
import { L1Table } from "./l1-table.ts";
import { WritableMetadata, type Metadata } from "./metadata.ts";
import { anyL2, section } from "./overlap.ts";
import { countTree, setRightFlags, withRightFlags } from "./sharing.ts";
import {
  encodeSnapshotTable,
  maxSnapshots,
  maxSnapshotTableBytes,
  type Snapshot,
} from "./snapshot-table.ts";
import { readSnapshotL1 } from "./snapshot-l1.ts";
import { snapshotNotFound } from "./snapshot-not-found.ts";
import { versionTwo } from "./resize.ts";
import { Switchover } from "./switchover.ts";

/** What changing snapshots needs of the image around the tables. */
export interface SnapshotSurroundings {
  /** Runs a task while nothing else changes the metadata. */
  exclusively(task: () => Promise<void>): Promise<void>;
  readonly leases: Leases;
  /** Bitmaps, which follow what changes. */
  bitmaps(): { list(): readonly unknown[] } | undefined;
}

/** Clusters in a row that have lost a reference. */
interface Range {
  readonly offset: HostOffset;
  length: number;
}

/** What a change of the snapshots does to the tables. */
interface Change {
  /** The snapshots afterwards, where they are others than before. */
  readonly snapshots?: readonly Snapshot[];
  /** The active L1 table afterwards. */
  readonly l1: L1Table;
  /** Size of the disk afterwards. */
  readonly size: number;
  /** L1 tables that gain a reference to all that they refer to. */
  readonly gained?: L1Table;
  /** L1 tables that lose theirs. */
  readonly lost?: L1Table;
  /** Further clusters that are not used any more. */
  readonly freed?: { readonly offset: HostOffset; readonly length: number };
}

const encoder = new TextEncoder();

/** The internal snapshots of a qcow2 image (specification, "Snapshots"). */
export class Qcow2Snapshots implements Snapshots {
  private readonly metadata: Metadata;
  private readonly around: SnapshotSurroundings | undefined;

  /** Without surroundings, the image is open for reading. */
  constructor(metadata: Metadata, around: SnapshotSurroundings | undefined) {
    this.metadata = metadata;
    this.around = around;
  }

  list(): SnapshotInfo[] {
    return [...this.metadata.snapshots.entries];
  }

  find(reference: SnapshotReference): SnapshotInfo | undefined {
    return findSnapshot(this.metadata.snapshots.entries, reference);
  }

  async create({ name, date }: NewSnapshot): Promise<SnapshotInfo> {
    const rawName = encoder.encode(name);
    let made: Snapshot | undefined;
    await this.change(async (metadata) => {
      const { snapshots, l1, storage, diskSize } = metadata;
      this.refuseImpossible(metadata, rawName);
      const id = nextId(snapshots.entries);
      const { clusterSize } = metadata.geometry;
      const l1Offset = await metadata.allocator.allocate(divideUp(l1.bytes.length, clusterSize));
      made = {
        l1Offset,
        l1Size: l1.length,
        rawId: encoder.encode(id),
        rawName,
        id,
        name,
        vmStateSize: 0,
        date,
        vmClock: 0n,
        icount: 0n,
        diskSize,
        hasSize: true,
        unknownExtra: new Uint8Array(0),
      };
      const before = l1.bytes.slice();
      const place = { offset: l1Offset, length: before.length };
      await this.switch(
        metadata,
        {
          snapshots: [...snapshots.entries, made],
          l1: new L1Table(l1.offset, l1.bytes.slice()),
          size: diskSize,
          gained: l1,
        },
        place,
        () => storage.write(l1Offset, before),
      );
    });
    return made!;
  }

  async remove(reference: SnapshotReference): Promise<void> {
    await this.change(async (metadata) => {
      const { storage, geometry, snapshots, l1, diskSize } = metadata;
      const snapshot = this.wanted(reference);
      const lost = await readSnapshotL1(storage, geometry, snapshot);
      await this.switch(metadata, {
        snapshots: snapshots.entries.filter((other) => other !== snapshot),
        l1: new L1Table(l1.offset, l1.bytes.slice()),
        size: diskSize,
        lost,
        freed: { offset: snapshot.l1Offset, length: lost.bytes.length },
      });
    });
  }

  async apply(reference: SnapshotReference): Promise<void> {
    await this.change(async (metadata) => {
      const { storage, geometry } = metadata;
      this.refuseBitmaps(storage.name);
      const snapshot = this.wanted(reference);
      const size = snapshot.diskSize;
      if (size !== metadata.diskSize) this.refuseResize(metadata, size);
      const gained = await readSnapshotL1(storage, geometry, snapshot);
      await metadata.growL1(Math.max(geometry.l1Entries(size), gained.length));
      const lost = metadata.l1;
      const bytes = new Uint8Array(lost.bytes.length);
      bytes.set(gained.bytes);
      const l1 = new L1Table(lost.offset, bytes);
      await this.switch(metadata, { l1, size, gained, lost });
      await this.shareL1(metadata, gained);
    });
  }

  /** Writes the table anew, with all that version 3 wants to know. The disk must be idle. */
  async rewrite(metadata: WritableMetadata): Promise<void> {
    const { l1, diskSize } = metadata;
    const snapshots: Snapshot[] = [];
    for (const entry of metadata.snapshots.entries) snapshots.push({ ...entry, hasSize: true });
    await metadata.writeBack.settle();
    await this.switch(metadata, {
      snapshots,
      l1: new L1Table(l1.offset, l1.bytes.slice()),
      size: diskSize,
    });
  }

  /** Runs a change of the tables while nobody writes, with everything written out before. */
  private async change(task: (metadata: WritableMetadata) => Promise<void>): Promise<void> {
    const { metadata, around } = this;
    if (around === undefined || !(metadata instanceof WritableMetadata)) {
      const file = metadata.storage.name;
      throw new PlatterError("E_READ_ONLY", `${file}: the image is open for reading only`, {
        file,
      });
    }
    await around.exclusively(async () => {
      metadata.frozen = true;
      try {
        await around.leases.drain();
        await metadata.writeBack.settle();
        await task(metadata);
      } finally {
        metadata.frozen = false;
      }
    });
  }

  /**
   * Makes a change: refcounts, flags and the snapshot table, all at once. `place` is allocated already and
   * filled by `write`; it is given back if nothing comes of the change.
   */
  private async switch(
    metadata: WritableMetadata,
    change: Change,
    place?: { readonly offset: HostOffset; readonly length: number },
    write?: () => Promise<void>,
  ): Promise<void> {
    const { storage, geometry, allocator, writeBack, refcounts, snapshots } = metadata;
    const fresh = place === undefined ? [] : [place];
    const dropped: Range[] = [];
    const drop = (offset: HostOffset, length: number): void => {
      const last = dropped.at(-1);
      if (last !== undefined && last.offset + last.length === offset) last.length += length;
      else dropped.push({ offset, length });
    };
    const release = async (offset: HostOffset, length: number): Promise<void> => {
      if (length === 0) return;
      await allocator.release(offset, length);
      drop(offset, length);
    };
    let table = snapshots;
    let switchover: Switchover | undefined;
    /** Whether no refcount differs from the file but by what is done here. */
    let isSettled = true;
    try {
      if (change.snapshots !== undefined) {
        const bytes = encodeSnapshotTable(change.snapshots);
        const offset = await allocator.allocate(divideUp(bytes.length, geometry.clusterSize));
        fresh.push({ offset, length: bytes.length });
        table = { entries: change.snapshots, offset, size: bytes.length };
        isSettled = false;
        await writeBack.settle();
        isSettled = true;
        for (const { offset: start, length } of fresh) {
          await metadata.overlap.prevent(start, length);
        }
        await write?.();
        if (bytes.length > 0) await storage.write(offset, bytes);
        await writeBack.barrier();
      }
      if (change.gained !== undefined) await countTree(metadata, change.gained, 1);
      if (table !== snapshots) await release(snapshots.offset, snapshots.size);
      if (change.lost !== undefined) await countTree(metadata, change.lost, -1, drop);
      if (change.freed !== undefined) await release(change.freed.offset, change.freed.length);
      switchover = await Switchover.begin(metadata);
      await this.stageTables(metadata, change.l1, switchover);
      await switchover.prepare(change.l1);
    } catch (error) {
      // Back to what the file has: the clusters of `fresh` are allocated there.
      if (isSettled) refcounts.blocks.revert();
      await switchover?.cancel().catch(() => undefined);
      for (const { offset, length } of fresh) {
        if (length > 0) await allocator.release(offset, length);
      }
      throw error;
    }
    await switchover.commit({
      nb_snapshots: table.entries.length,
      snapshots_offset: BigInt(table.offset),
      size: BigInt(change.size),
    });
    metadata.snapshots = table;
    if (change.lost !== undefined) await this.correctOthers(metadata, change.lost, change.l1);
    await this.around!.leases.drain();
    for (const { offset, length } of dropped) await writeBack.punchUnused(offset, length);
  }

  /** Has the flags of the active tables become what the refcounts are. */
  private async stageTables(
    metadata: WritableMetadata,
    l1: L1Table,
    switchover: Switchover,
  ): Promise<void> {
    await setRightFlags(metadata, l1);
    for (let i = 0; i < l1.length; i++) {
      const offset = l1.l2Offset(i);
      if (offset === 0) continue;
      const bytes = await withRightFlags(metadata, await metadata.l2.load(offset));
      if (bytes !== undefined) await switchover.stage(offset, bytes);
    }
  }

  /**
   * Corrects the flags of tables that only snapshots refer to now, as QEMU does. Nobody relies on them.
   */
  private async correctOthers(
    metadata: WritableMetadata,
    lost: L1Table,
    active: L1Table,
  ): Promise<void> {
    const { refcounts, geometry, storage, l2 } = metadata;
    const known = new Set<number>();
    for (let i = 0; i < active.length; i++) known.add(active.l2Offset(i));
    for (let i = 0; i < lost.length; i++) {
      const offset = lost.l2Offset(i);
      if (offset === 0 || known.has(offset)) continue;
      if ((await refcounts.count(offset / geometry.clusterSize)) === 0) continue;
      const bytes = await withRightFlags(metadata, await l2.load(offset));
      if (bytes === undefined) continue;
      await metadata.overlap.prevent(offset, bytes.length, anyL2);
      await storage.write(offset, bytes);
      l2.drop(offset);
    }
  }

  /** A snapshot's L1 table does not own its tables any more: the disk has them, too. */
  private async shareL1(metadata: WritableMetadata, l1: L1Table): Promise<void> {
    for (let i = 0; i < l1.length; i++) l1.share(i);
    if (l1.dirtyEntries.size === 0) return;
    await metadata.overlap.prevent(l1.offset, l1.bytes.length, section.inactiveL1);
    await metadata.storage.write(l1.offset, l1.bytes);
  }

  private wanted(reference: SnapshotReference): Snapshot {
    const { snapshots, storage } = this.metadata;
    const found = findSnapshot(snapshots.entries, reference);
    if (found !== undefined) return found;
    throw snapshotNotFound(storage.name, reference, "No such file or directory");
  }

  private refuseImpossible({ storage, hasDataFile, snapshots }: Metadata, name: Uint8Array): void {
    const { name: file } = storage;
    if (hasDataFile) {
      throw new PlatterError(
        "E_UNSUPPORTED",
        `${file}: the data is in a file of its own, of which internal snapshots are not possible; ` +
          `make an overlay instead`,
        { file, field: "data file", qemu: "Operation not supported" },
      );
    }
    if (name.length > 0xffff) {
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `${file}: the name of the snapshot has ${name.length} bytes; qcow2 allows 65535`,
        { file, field: "name_size", value: name.length, qemu: "Invalid argument" },
      );
    }
    const { entries } = snapshots;
    const bytes = encodeSnapshotTable(entries).length + name.length + 128;
    if (entries.length < maxSnapshots && bytes <= maxSnapshotTableBytes) return;
    throw new PlatterError(
      "E_LIMIT",
      `${file}: the image has ${entries.length} snapshots, and its table has no room for another`,
      { file, field: "nb_snapshots", value: entries.length, qemu: "File too large" },
    );
  }

  /** Bitmaps would not know of what changes by going back. */
  private refuseBitmaps(file: string): void {
    if ((this.around?.bitmaps()?.list().length ?? 0) === 0) return;
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${file}: its dirty bitmaps would not know of what going back changes; remove them first`,
      { file, field: "bitmaps", qemu: "Device has active dirty bitmaps" },
    );
  }

  private refuseResize(metadata: Metadata, size: number): void {
    const { storage, header, geometry } = metadata;
    const file = storage.name;
    if (header.fields.version < 3) throw versionTwo(file);
    if (size % 512 !== 0 || geometry.l1Entries(size) * entrySize > maxL1Bytes) {
      throw invalid(file, "E_CORRUPT", "Snapshot size is not possible", {
        field: "disk_size",
        value: size,
      });
    }
  }
}

/** The next number after all those that ids begin with. */
function nextId(snapshots: readonly Snapshot[]): string {
  let highest = 0n;
  for (const { id } of snapshots) {
    const digits = /^\d+/.exec(id.trim())?.[0];
    if (digits !== undefined && BigInt(digits) > highest) highest = BigInt(digits);
  }
  return String(highest + 1n);
}
