import { host, type HostOffset } from "../../bytes/index.ts";
import type { PlatterError } from "../../errors.ts";
import type { Corruption } from "./corruption.ts";
import type { Storage } from "../../storage/index.ts";
import { entrySize, maxRefcountTableBytes, type Geometry } from "./geometry.ts";
import { address, invalid } from "./invalid.ts";
import { readFully } from "./read.ts";
import { getRefcount } from "./refcount-block.ts";
import { TableCache, type Table } from "./tables.ts";

/** Bytes of refcount blocks kept in memory unless the caller says otherwise. */
const blockBudget = 8 * 1024 * 1024;

/**
 * The refcounts of an image's clusters (specification, "Host cluster management"): the refcount
 * table, whole in memory, and its blocks in a cache. Looking up only; the allocator changes them.
 */
export class Refcounts {
  readonly geometry: Geometry;
  readonly blocks: TableCache;
  /** Offset of each refcount block, 0 where there is none. */
  table: Float64Array;
  tableOffset: HostOffset;
  /** Entries of `table` that differ from the storage. */
  readonly dirtyEntries = new Set<number>();
  private readonly corruption: Corruption;

  constructor(
    storage: Storage,
    geometry: Geometry,
    tableOffset: HostOffset,
    table: Float64Array,
    options: { readonly corruption: Corruption; readonly budget?: number | undefined },
  ) {
    this.geometry = geometry;
    this.tableOffset = tableOffset;
    this.table = table;
    this.corruption = options.corruption;
    const budget = options.budget ?? blockBudget;
    this.blocks = new TableCache(storage, geometry.clusterSize, budget, "refcount block");
  }

  /** The block that holds the refcount of cluster `index`, if it exists and is in memory. */
  cachedBlock(index: number): Table | undefined {
    const offset = this.blockOffset(index);
    return offset === 0 ? undefined : this.blocks.get(offset);
  }

  /** Offset of the block that holds the refcount of cluster `index`; 0 when there is none. */
  blockOffset(index: number): HostOffset {
    return host(this.table[Math.floor(index / this.geometry.refcountsPerBlock)] ?? 0);
  }

  /** The block that holds the refcount of cluster `index`, if it exists. */
  async block(index: number): Promise<Table | undefined> {
    const offset = this.blockOffset(index);
    if (offset === 0) return undefined;
    if (offset % this.geometry.clusterSize !== 0) throw await this.unaligned(index, offset);
    return this.blocks.load(offset);
  }

  private unaligned(index: number, offset: number): Promise<PlatterError> {
    const entry = Math.floor(index / this.geometry.refcountsPerBlock);
    return this.corruption.signal(
      `Refblock offset ${address(offset)} unaligned (reftable index: ${address(entry)})`,
      { field: "refcount table", offset: this.tableOffset + entry * entrySize },
    );
  }

  /** The refcount of cluster `index`, if it can be told without reading. */
  cachedCount(index: number): number | undefined {
    const offset = this.blockOffset(index);
    if (offset === 0) return 0;
    const block = this.blocks.get(offset);
    if (block === undefined) return undefined;
    const { refcountsPerBlock, refcountOrder } = this.geometry;
    return getRefcount(block.view, index % refcountsPerBlock, refcountOrder);
  }

  /** The refcount of cluster `index`. Loops over many use {@link Refcounts.cachedCount} first. */
  async count(index: number): Promise<number> {
    await this.block(index);
    return this.cachedCount(index) ?? 0;
  }

  /** Index of the last entry of the table that is in use; 0 when none is. */
  get lastUsedEntry(): number {
    return Math.max(
      0,
      this.table.findLastIndex((offset) => offset !== 0),
    );
  }
}

/**
 * Reads an image's refcount table. Throws `E_CORRUPT` or `E_TRUNCATED` when the header places it
 * outside the limits or the file.
 */
export async function readRefcountTable(
  storage: Storage,
  geometry: Geometry,
  offset: HostOffset,
  clusters: number,
): Promise<Float64Array> {
  const bytes = clusters * geometry.clusterSize;
  if (clusters === 0) {
    throw invalid(storage.name, "E_CORRUPT", "Image does not contain a reference count table", {
      field: "refcount_table_clusters",
      value: 0,
    });
  }
  if (bytes > maxRefcountTableBytes) {
    throw invalid(storage.name, "E_LIMIT", "Image is too big", {
      field: "refcount_table_clusters",
      value: clusters,
    });
  }
  if (offset % geometry.clusterSize !== 0) {
    throw invalid(storage.name, "E_CORRUPT", "Reference count table offset invalid", {
      field: "refcount_table_offset",
      value: offset,
    });
  }
  const raw = new Uint8Array(bytes);
  await readFully(storage, offset, raw, "refcount table");
  const view = new DataView(raw.buffer);
  const table = new Float64Array(bytes / entrySize);
  for (let i = 0; i < table.length; i++) {
    const at = i * entrySize;
    // Past 2^53 this is not exact, and past any possible file, where nothing is ever read.
    table[i] = view.getUint32(at) * 2 ** 32 + ((view.getUint32(at + 4) & 0xffff_fe00) >>> 0);
  }
  return table;
}
