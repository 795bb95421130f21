import { divideUp } from "../../bytes/index.ts";

/** Bytes of an entry of the L1 table and the refcount table, and of a standard L2 entry. */
export const entrySize = 8;

/** Bytes of an extended L2 entry: a standard one, and a bitmap of its subclusters. */
const extendedEntrySize = 16;

/** Subclusters of a cluster in an image with extended L2 entries. */
export const subclustersPerCluster = 32;

/** QEMU's limit for the L1 table: 32 MiB. */
export const maxL1Bytes = 32 * 1024 * 1024;

/** QEMU's limit for the refcount table: 8 MiB. */
export const maxRefcountTableBytes = 8 * 1024 * 1024;

/** QEMU's cache for L2 tables: at most 32 MiB unless configured. */
const qemuL2Cache = 32 * 1024 * 1024;

/** How QEMU would keep L2 tables in memory. */
export interface QemuCache {
  /** Bytes of its cache of L2 tables; default 32 MiB. */
  readonly l2Cache?: number | undefined;
  /** Bytes that it loads at once; default by the size of the cache. */
  readonly slice?: number | undefined;
}

/**
 * The sizes that follow from a header's `cluster_bits` and `refcount_order` and from whether it has
 * extended L2 entries. Everything else in the format is counted in them (specification, "General",
 * "Host cluster management", "Cluster mapping", "Extended L2 Entries").
 */
export class Geometry {
  readonly clusterBits: number;
  readonly clusterSize: number;
  /** Whether L2 entries say of each of 32 subclusters whether it is data, zeros or neither. */
  readonly hasSubclusters: boolean;
  /** The smallest piece of which an L2 entry can say what it is: a whole cluster unless extended. */
  readonly subclusterSize: number;
  /** Bytes of an L2 entry. */
  readonly l2EntrySize: number;
  /** Entries of an L2 table, which is one cluster. */
  readonly l2Entries: number;
  /** Guest bytes that one L2 table maps. */
  readonly l2Span: number;
  /** log2 of the width of a refcount in bits. */
  refcountOrder!: number;
  refcountBits!: number;
  /** Refcounts in a refcount block, which is one cluster. */
  refcountsPerBlock!: number;
  /** Largest refcount that can be stored; 2^53 − 1 stands for anything beyond. */
  maxRefcount!: number;
  /** What is said of QEMU's cache, see {@link Geometry.sliceEntries}. */
  qemuCache: QemuCache = {};

  constructor(clusterBits: number, refcountOrder: number, extendedL2 = false) {
    this.clusterBits = clusterBits;
    this.clusterSize = 2 ** clusterBits;
    this.hasSubclusters = extendedL2;
    this.subclusterSize = extendedL2 ? this.clusterSize / subclustersPerCluster : this.clusterSize;
    this.l2EntrySize = extendedL2 ? extendedEntrySize : entrySize;
    this.l2Entries = this.clusterSize / this.l2EntrySize;
    this.l2Span = this.l2Entries * this.clusterSize;
    this.setRefcountOrder(refcountOrder);
  }

  /** The width of refcounts is all that can change while an image is open. */
  setRefcountOrder(refcountOrder: number): void {
    this.refcountOrder = refcountOrder;
    this.refcountBits = 2 ** refcountOrder;
    this.refcountsPerBlock = (this.clusterSize * 8) / this.refcountBits;
    this.maxRefcount = Math.min(2 ** this.refcountBits - 1, Number.MAX_SAFE_INTEGER);
  }

  /** L1 entries needed for a disk of `size` bytes. */
  l1Entries(size: number): number {
    return divideUp(size, this.l2Span);
  }

  /**
   * Entries that QEMU allocates for at most in one go, on a disk of `size` bytes: it works on whole L2
   * tables where those of the disk fit its cache, otherwise on slices of 4 KiB, or as its options say. Our
   * tables are always whole, but where clusters end up depends on it, and we put them where QEMU does.
   */
  sliceEntries(size: number): number {
    const { l2Cache = qemuL2Cache, slice } = this.qemuCache;
    const tables = this.l1Entries(size) * this.clusterSize;
    const bytes = tables <= l2Cache ? this.clusterSize : Math.min(this.clusterSize, 4096);
    return (slice ?? bytes) / this.l2EntrySize;
  }
}
