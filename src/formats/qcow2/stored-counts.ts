import type { Metadata } from "./metadata.ts";
import { areSingle, getRefcount } from "./refcount-block.ts";

/** Refcounts as they stand in an image that is checked: blocks may be missing or misplaced. */
export class StoredCounts {
  private readonly metadata: Metadata;
  /** The block that was used last, from the cluster whose count is its first one. */
  private near: { readonly first: number; readonly view: DataView } | undefined;

  constructor(metadata: Metadata) {
    this.metadata = metadata;
  }

  /** The refcount of the cluster that `offset` is in; undefined where it cannot be told. */
  async at(offset: number): Promise<number | undefined> {
    return this.cached(offset) ?? this.read(offset);
  }

  /** As {@link StoredCounts.at}, if it is in the block that was used last. */
  cached(offset: number): number | undefined {
    const { near } = this;
    if (near === undefined) return undefined;
    const { clusterSize, refcountsPerBlock, refcountOrder } = this.metadata.geometry;
    const at = Math.floor(offset / clusterSize) - near.first;
    if (at < 0 || at >= refcountsPerBlock) return undefined;
    return getRefcount(near.view, at, refcountOrder);
  }

  /**
   * As {@link StoredCounts.cached} for `most` clusters in a row from `offset` on, as far as the block goes:
   * whether the refcounts of all are exactly one, or, unless `single`, of none; and how many that are.
   */
  cachedRun(
    offset: number,
    most: number,
    single: boolean,
  ): { readonly length: number; readonly holds: boolean } {
    const { near } = this;
    const { clusterSize, refcountsPerBlock, refcountOrder } = this.metadata.geometry;
    const at = near === undefined ? -1 : Math.floor(offset / clusterSize) - near.first;
    if (at < 0 || at >= refcountsPerBlock) return { length: 0, holds: true };
    const length = Math.min(most, refcountsPerBlock - at);
    return { length, holds: areSingle(near!.view, at, length, refcountOrder, single) };
  }

  /** Counts have been corrected, perhaps in another copy of the block. */
  forget(): void {
    this.near = undefined;
  }

  /** Whether there can be a refcount block at `blockOffset`. */
  isReadable(blockOffset: number): boolean {
    const { geometry, storage } = this.metadata;
    return (
      blockOffset !== 0 &&
      blockOffset % geometry.clusterSize === 0 &&
      blockOffset + geometry.clusterSize <= storage.size
    );
  }

  private async read(offset: number): Promise<number | undefined> {
    const { geometry, refcounts } = this.metadata;
    const index = Math.floor(offset / geometry.clusterSize);
    const place = refcounts.blockOffset(index);
    if (place % geometry.clusterSize !== 0) return undefined;
    if (!this.isReadable(place)) return 0;
    const { view } = (await refcounts.block(index))!;
    const first = index - (index % geometry.refcountsPerBlock);
    this.near = { first, view };
    return getRefcount(view, index - first, geometry.refcountOrder);
  }
}
