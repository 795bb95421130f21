import type { LayoutPart, LayoutRole } from "../../disk/index.ts";

/** Clusters in a page. */
const pageSize = 65536;

const roles: readonly LayoutRole[] = [
  "free",
  "header",
  "refcount table",
  "refcount blocks",
  "L1 table",
  "L2 tables",
  "data",
  "zeroed",
  "compressed",
  "bitmaps",
  "snapshot tables",
  "snapshot data",
  "leaked",
  "unknown",
];

/**
 * What each cluster of a file is for. Memory follows the clusters that have a role: a byte each. The
 * first role that a cluster is given stays.
 */
export class ClusterRoles {
  private readonly pages = new Map<number, Uint8Array>();
  private readonly clusterSize: number;
  private readonly fileSize: number;

  constructor(clusterSize: number, fileSize: number) {
    this.clusterSize = clusterSize;
    this.fileSize = fileSize;
  }

  /** Gives a role to all clusters that `length` bytes from `offset` on touch, inside the file. */
  mark(role: LayoutRole, offset: number, length: number): void {
    const number = roles.indexOf(role);
    const end = Math.min(offset + length, this.fileSize);
    for (let at = offset; at < end; at += this.clusterSize) {
      const index = Math.floor(at / this.clusterSize);
      const page = this.page(Math.floor(index / pageSize));
      page[index % pageSize] ||= number;
    }
    // A range that starts inside a cluster touches one more.
    const last = Math.floor((end - 1) / this.clusterSize);
    if (end > offset) this.page(Math.floor(last / pageSize))[last % pageSize] ||= number;
  }

  /** Whether cluster `index` has no role yet. */
  isFree(index: number): boolean {
    return (this.pages.get(Math.floor(index / pageSize))?.[index % pageSize] ?? 0) === 0;
  }

  /** The file in runs of one role. */
  *parts(): Generator<LayoutPart> {
    const { clusterSize, fileSize } = this;
    const clusters = Math.ceil(fileSize / clusterSize);
    let start = 0;
    let current = -1;
    for (let first = 0; first < clusters; first += pageSize) {
      const page = this.pages.get(first / pageSize);
      const count = Math.min(pageSize, clusters - first);
      // A page that nobody has marked is free as a whole.
      for (let i = 0; i < count; i += page === undefined ? count : 1) {
        const role = page?.[i] ?? 0;
        if (role === current) continue;
        const end = (first + i) * clusterSize;
        if (end > start) yield { role: roles[current]!, start, end };
        start = end;
        current = role;
      }
    }
    if (fileSize > start) yield { role: roles[current]!, start, end: fileSize };
  }

  private page(number: number): Uint8Array {
    let page = this.pages.get(number);
    if (page === undefined) {
      page = new Uint8Array(pageSize);
      this.pages.set(number, page);
    }
    return page;
  }
}
