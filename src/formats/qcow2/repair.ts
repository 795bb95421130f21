import { host } from "../../bytes/index.ts";
import type { RepairImageOptions, RepairReport } from "../../disk/index.ts";
import { Checker } from "./check.ts";
import type { Mender } from "./mender.ts";
import { zeroBit } from "./entries.ts";
import { incompatible } from "./features.ts";
import { entrySize } from "./geometry.ts";
import { setEntry } from "./l2-table.ts";
import type { WritableMetadata } from "./metadata.ts";
import { rebuildRefcounts } from "./rebuild.ts";
import { setRefcount } from "./refcount-block.ts";
import { allSubclusters, setSubclusters } from "./subclusters.ts";
import type { Table } from "./tables.ts";

/**
 * Repairs an image as `qemu-img check -r` does: refcounts in place, or all of them anew where their own
 * structures are damaged; then the "copied" flags; and when all is well the marks "dirty" and "corrupt" go.
 * The disk must be idle.
 */
export async function repair(
  metadata: WritableMetadata,
  { what, signal }: RepairImageOptions,
): Promise<RepairReport> {
  const mender = new ImageMender(metadata, what === "all");
  const checker = new Checker(metadata, { signal }, mender);
  const rewrites = await repairSnapshots(metadata, checker, mender);
  // What is wrong with snapshots does not count for what is to be done about refcounts.
  const incomplete = checker.found.corruptions;
  checker.found.corruptions = 0;
  await checker.countReferences();
  // Entries that point nowhere now are so on disk before what they pointed to is freed.
  await mender.finish();
  const counted = { ...checker.found };
  await checker.compareRefcounts();
  let needsMore = false;
  if (checker.needsRebuild && mender.errors) {
    checker.add({ kind: "note", message: "Rebuilding refcount structure" });
    const before = { ...checker.found };
    await mender.finish();
    const old = refcountClusters(metadata);
    await rebuildRefcounts(metadata, { signal });
    const again = new Checker(metadata, { signal });
    await again.countReferences();
    // What is still wrong is said once more, and counted in the end.
    for (const problem of again.problems) checker.add({ ...problem, kind: "note" });
    for (const index of old) {
      const [was, is] = [checker.references.get(index), again.references.get(index)];
      if (was === is) continue;
      const message = `Repairing cluster ${index} refcount=${was} reference=${is}`;
      checker.add({ kind: "note", message, hostOffset: index * metadata.geometry.clusterSize });
      if (is === 0) mender.free(index);
    }
    await again.compareRefcounts();
    mender.fixed.corruptions += Math.max(0, before.corruptions - again.found.corruptions);
    mender.fixed.leaks += Math.max(0, before.leaks - again.found.leaks);
    Object.assign(checker.found, again.found);
  } else if (checker.needsRebuild) {
    checker.add({ kind: "note", message: "ERROR need to rebuild refcount structures" });
    needsMore = true;
  } else if (checker.found.leaks > 0 || checker.found.corruptions > 0) {
    // Seen once as they are, and once being repaired, as QEMU prints them.
    Object.assign(checker.found, counted);
    await checker.compareRefcounts(mender);
  }
  const { corruptions, leaks, checkErrors } = checker.found;
  const flagsToo = mender.errors || (checkErrors === 0 && corruptions === 0 && leaks === 0);
  if (!needsMore) await checker.checkCopiedFlags(flagsToo ? mender : undefined);
  await mender.finish();
  if (rewrites !== undefined && !needsMore) await rewrites();
  const { found } = checker;
  found.corruptions += incomplete;
  if (!needsMore && found.checkErrors === 0 && found.corruptions === 0) await clearMarks(metadata);
  return {
    leaksFixed: mender.fixed.leaks,
    corruptionsFixed: mender.fixed.corruptions,
    checkErrors: checker.found.checkErrors,
    needsMore,
    problems: checker.problems,
    problemsOmitted: checker.reported - checker.problems.length,
  };
}

/**
 * Reads the table of snapshots. Where it has to be written anew, a function that does so is returned, for when
 * refcounts are right.
 */
async function repairSnapshots(
  metadata: WritableMetadata,
  checker: Checker,
  { errors, fixed }: Mender,
): Promise<(() => Promise<void>) | undefined> {
  const { dropped, mended } = await checker.checkSnapshots(errors);
  if (dropped + mended === 0) return undefined;
  const { countSnapshotsAnew, rewriteSnapshotTable } = await import("./snapshot-check.ts");
  if (dropped > 0) await countSnapshotsAnew(metadata);
  fixed.corruptions += dropped;
  if (mended === 0) return undefined;
  return async () => {
    if (!(await rewriteSnapshotTable(metadata))) {
      checker.add({ kind: "note", message: "qcow2_free_clusters failed: Invalid argument" });
    }
    fixed.corruptions += mended;
  };
}

/** The clusters inside the file that the refcounts take, in ascending order. */
function refcountClusters({ refcounts, geometry, storage }: WritableMetadata): number[] {
  const { clusterSize } = geometry;
  const found = new Set<number>();
  const add = (offset: number, length: number): void => {
    for (let at = offset; at < Math.min(offset + length, storage.size); at += clusterSize) {
      found.add(at / clusterSize);
    }
  };
  add(refcounts.tableOffset, refcounts.table.length * entrySize);
  for (const offset of refcounts.table) {
    if (offset !== 0 && offset % clusterSize === 0) add(offset, clusterSize);
  }
  return [...found].toSorted((a, b) => a - b);
}

/** The image is sound: it need not be repaired, and may be written. */
async function clearMarks(metadata: WritableMetadata): Promise<void> {
  const { incompatible_features: features } = metadata.header.fields;
  const kept = features & ~(incompatible.dirty | incompatible.corrupt);
  if (kept !== features) await metadata.updateHeader({ incompatible_features: kept });
}

/** Corrects tables in memory; {@link ImageMender.finish} writes them. */
class ImageMender implements Mender {
  readonly leaks = true;
  readonly errors: boolean;
  readonly fixed = { leaks: 0, corruptions: 0 };
  private readonly metadata: WritableMetadata;
  /** First and end of runs of clusters that nothing uses any more. */
  private freed: Array<{ readonly first: number; end: number }> = [];

  constructor(metadata: WritableMetadata, errors: boolean) {
    this.metadata = metadata;
    this.errors = errors;
  }

  async setCount(index: number, count: number): Promise<void> {
    const { refcounts, geometry } = this.metadata;
    const block = await refcounts.block(index);
    if (block === undefined) throw new TypeError("a refcount that differs has a block");
    const { refcountsPerBlock, refcountOrder, maxRefcount } = geometry;
    setRefcount(block.view, index % refcountsPerBlock, refcountOrder, Math.min(count, maxRefcount));
    refcounts.blocks.touch(block);
    if (count === 0) this.free(index);
  }

  /** Takes note of a cluster that nothing uses any more. */
  free(index: number): void {
    const last = this.freed.at(-1);
    if (last !== undefined && last.end === index) last.end++;
    else this.freed.push({ first: index, end: index + 1 });
  }

  setEntry(table: Table, index: number, upper: number, lower: number): void {
    setEntry(this.metadata.l2, table, index, upper, lower);
  }

  zeroEntry(table: Table, index: number): void {
    const { l2, geometry } = this.metadata;
    setEntry(l2, table, index, 0, geometry.hasSubclusters ? 0 : zeroBit);
    if (geometry.hasSubclusters) setSubclusters(l2, table, index, allSubclusters, 0);
  }

  /** Writes what has been corrected: counts first, then what relies on them; and gives space back. */
  async finish(): Promise<void> {
    const { writeBack, geometry } = this.metadata;
    await writeBack.flush(true);
    for (const { first, end } of this.freed) {
      const offset = host(first * geometry.clusterSize);
      await writeBack.punchUnused(offset, (end - first) * geometry.clusterSize);
    }
    this.freed = [];
  }
}
