/**
 * What the filesystem has for a range of a file: nothing; space that is reserved and reads as zeros
 * without having been written (`fallocate`); or data. Data that is still only in memory, waiting for
 * its place, counts as written.
 */
export type HostExtentKind = "hole" | "unwritten" | "written";

/** A run of a file as the filesystem holds it. Offsets and lengths are bytes. */
export interface HostExtent {
  readonly offset: number;
  readonly length: number;
  readonly kind: HostExtentKind;
  /** Shared with another file or a snapshot (reflink). */
  readonly shared: boolean;
}

/** How extents are looked up. */
export interface HostExtentOptions {
  /** Have what was written lately written out first, so that none of it is told as unwritten. */
  readonly settled?: boolean;
}

/** The filesystem that a storage is on. Sizes are bytes. */
export interface Volume {
  /** The same for all storages on the same filesystem, as long as it is mounted. */
  readonly id: string;
  /** Its kind, such as "ext4"; undefined where it is none that we know by name. */
  readonly filesystem: string | undefined;
  readonly size: number;
  /** What is left for those who are not root. */
  readonly free: number;
  /** Files that can exist and that can still be made; 0 for both where there is no limit. */
  readonly inodes: number;
  readonly freeInodes: number;
}
