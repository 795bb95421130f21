import type { HostOffset } from "../../bytes/index.ts";
import type { CheckProblem } from "../../disk/index.ts";
import { throwIfAborted } from "../../errors.ts";
import { compressedBit, copiedBit, entry64, hostOffset } from "./entries.ts";
import { entrySize } from "./geometry.ts";
import { hasCluster, lowerOf, upperOf } from "./l2-table.ts";
import type { Mender } from "./mender.ts";
import type { Metadata } from "./metadata.ts";
import type { StoredCounts } from "./stored-counts.ts";
import type { Table } from "./tables.ts";

/** What looking at the flags takes besides the image. */
interface FlagsOptions {
  readonly counts: StoredCounts;
  /** The L2 table at an offset, and whether it can be repaired there. */
  readonly tableAt: (offset: HostOffset) => Promise<{ table: Table; isInPlace: boolean }>;
  readonly add: (problem: CheckProblem) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * "Copied", bit 63 of L1 and L2 entries, has to be set where the refcount is exactly one, and nowhere else
 * (specification, "Cluster mapping").
 */
export class CopiedFlags {
  private readonly metadata: Metadata;
  private readonly options: FlagsOptions;
  private allRight = true;

  constructor(metadata: Metadata, options: FlagsOptions) {
    this.metadata = metadata;
    this.options = options;
  }

  /** Whether no flag that was noted is wrong: then they need not be looked at in turn. */
  get areRight(): boolean {
    return this.allRight;
  }

  /** Takes note of the flag of an entry that points to a cluster with that refcount. */
  note(isCopied: boolean, count: number | undefined): void {
    if (isCopied !== (count === 1)) this.allRight = false;
  }

  /**
   * Takes note of the flag that the entries for the clusters at [start, end) have in common, as far as their
   * refcounts are in the block that was used last. Returns the offset of the first that was not looked at;
   * `end`, where nothing is to be found out any more.
   */
  noteCached(isCopied: boolean, start: number, end: number): number {
    const { counts } = this.options;
    const { clusterSize } = this.metadata.geometry;
    for (let at = start; at < end && this.allRight;) {
      const { length, holds } = counts.cachedRun(at, (end - at) / clusterSize, isCopied);
      if (length === 0) return at;
      this.allRight = holds;
      at += length * clusterSize;
    }
    return end;
  }

  /** As {@link CopiedFlags.noteCached}, reading refcount blocks: all are looked at. */
  async noteRun(isCopied: boolean, start: number, end: number): Promise<void> {
    const { clusterSize } = this.metadata.geometry;
    for (let at = start; at < end && this.allRight; at = this.noteCached(isCopied, at, end)) {
      this.note(isCopied, await this.options.counts.at(at));
      at += clusterSize;
    }
  }

  /** An entry has been met whose flag was not looked at. */
  noteUnknown(): void {
    this.allRight = false;
  }

  /** Looks at all of them, and corrects those that `mender` may. */
  async check(mender: Mender | undefined): Promise<void> {
    const { geometry, l1 } = this.metadata;
    const { counts, tableAt, signal } = this.options;
    counts.forget();
    for (let i = 0; i < l1.length; i++) {
      throwIfAborted(signal);
      const offset = l1.l2Offset(i);
      if (offset === 0) continue;
      const start = i * geometry.l2Span;
      const count = await counts.at(offset);
      if (count !== undefined && l1.isCopied(i) !== (count === 1)) {
        this.wrong(
          mender,
          `OFLAG_COPIED L2 cluster: l1_index=${i} l1_entry=${l1.raw(i).toString(16)} refcount=${count}`,
          { hostOffset: l1.offset + i * entrySize, guest: { start, end: start + geometry.l2Span } },
        );
        if (mender !== undefined && count === 1) l1.own(i);
        else if (mender !== undefined) l1.share(i);
      }
      const { table, isInPlace } = await tableAt(offset);
      await this.checkTable(table, start, isInPlace ? mender : undefined);
    }
  }

  private async checkTable(
    table: Table,
    tableStart: number,
    mender: Mender | undefined,
  ): Promise<void> {
    const { hasDataFile, geometry } = this.metadata;
    const { counts } = this.options;
    const { clusterSize, l2Entries } = geometry;
    for (let index = 0; index < l2Entries; index++) {
      const upper = upperOf(table, index);
      const lower = lowerOf(table, index);
      if ((upper & compressedBit) !== 0) continue;
      const host = hostOffset(upper, lower);
      if (hasDataFile ? !hasCluster(table, index, true) : host === 0) continue;
      const count = hasDataFile ? 1 : (counts.cached(host) ?? (await counts.at(host)));
      if (count === undefined || ((upper & copiedBit) !== 0) === (count === 1)) continue;
      const start = tableStart + index * clusterSize;
      const entry = entry64(upper, lower).toString(16);
      this.wrong(mender, `OFLAG_COPIED data cluster: l2_entry=${entry} refcount=${count}`, {
        hostOffset: table.offset + index * table.entrySize,
        guest: { start, end: start + clusterSize },
      });
      mender?.setEntry(table, index, (upper ^ copiedBit) >>> 0, lower);
    }
  }

  private wrong(
    mender: Mender | undefined,
    text: string,
    place: Pick<CheckProblem, "hostOffset" | "guest">,
  ): void {
    const { add } = this.options;
    if (mender === undefined) add({ kind: "error", message: `ERROR ${text}`, ...place });
    else {
      mender.fixed.corruptions++;
      add({ kind: "note", message: `Repairing ${text}`, ...place });
    }
  }
}
