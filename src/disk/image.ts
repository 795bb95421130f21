import type { GuestOffset, HostOffset } from "../bytes/index.ts";
import type { CompressionType } from "../codec/index.ts";
import type { Storage } from "../storage/index.ts";
import type { AmendOptions } from "./amend.ts";
import type { Bitmaps } from "./bitmaps.ts";
import type { SectorCipher } from "./cipher.ts";
import type { CheckImageOptions, CheckReport, RepairImageOptions, RepairReport } from "./check.ts";
import type { Layout, LayoutOptions } from "./layout.ts";
import type { Mapping } from "./mapping.ts";
import type { SnapshotInfo, Snapshots } from "./snapshots.ts";

/** How an image names the image behind it. */
export interface BackingReference {
  /** The name as it stands in the image. Never opened without the open policy's word. */
  readonly name: string;
  /** The backing image's format, if the image says. */
  readonly format?: string | undefined;
}

/** Another file that an image names and needs: what the open policy decides about. */
export interface FileReference {
  /** `data-file`: where the image's own guest data lies; it is raw and never probed. */
  readonly kind: "backing" | "data-file";
  /** The name as it stands in the image. */
  readonly name: string;
  /** The backing image's format, if the image says. */
  readonly format?: string | undefined;
  /** Whether it will be written: a data file is, when its image is. */
  readonly writable: boolean;
}

/**
 * An opened image: a format's view of a storage. It answers where guest bytes are and changes that;
 * it never moves them. {@link Disk} does, for every format.
 */
export interface Image extends Mapping {
  /** The format's name, as in `qemu-img -f`. */
  readonly format: string;
  readonly storage: Storage;
  /**
   * Where guest data lies, when it is not `storage`: host offsets of data are offsets in here. Closed
   * with the disk.
   */
  readonly dataStorage?: Storage | undefined;
  /** Whether guest data is encrypted, be it that it can be decrypted now or not. */
  readonly isEncrypted?: boolean;
  /** How guest data is encrypted; compressed clusters are not. */
  readonly cipher?: SectorCipher | undefined;
  /** Size of the guest's disk in bytes. */
  readonly size: number;
  /** The unit in which the format allocates, in bytes; 1 where it does not allocate. */
  readonly clusterSize: number;
  /**
   * The smallest piece of which the format can say on its own whether it is data, zeros or neither;
   * absent: a cluster.
   */
  readonly subclusterSize?: number;
  /** The image behind this one, where the format has such a thing and this image names one. */
  readonly backing: BackingReference | undefined;
  /** How compressed runs are packed. */
  readonly compression?: CompressionType;
  /** Guest offsets are storage offsets: the storage's holes are the disk's own (raw). */
  readonly isTransparent?: boolean;
  /**
   * Whether much of what is mapped as data lies on holes of the storage, as it does after
   * preallocating metadata only.
   */
  mapsHoles?(): Promise<boolean>;
  /** Format-specific facts for `info`. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The write verbs. Absent: the image was opened for reading. */
  readonly writer?: ImageWriter | undefined;
  /**
   * Notes that an answer of {@link Mapping.map} is in use across an await: the host ranges it named
   * are not reused for anything else until the returned function is called.
   */
  lease?(): () => void;
  /** Looks for inconsistencies, changing nothing. Absent: the format has none to look for. */
  check?(options: CheckImageOptions): Promise<CheckReport>;
  /**
   * Repairs what `check` finds, as far as it is understood, on an image that has been opened for repair.
   * Absent: the format has nothing to repair.
   */
  repair?(options: RepairImageOptions): Promise<RepairReport>;
  /** Where every byte of the storage goes. Absent: all of it is the disk. */
  layout?(options: LayoutOptions): Promise<Layout>;
  /** The persistent dirty bitmaps. Absent: the format has none. */
  bitmaps?(): Promise<Bitmaps>;
  /** The internal snapshots that the image has. Absent: the format has none. */
  readonly snapshotList?: readonly SnapshotInfo[];
  /** The internal snapshots, to change them. Absent: the format has none. */
  snapshots?(): Promise<Snapshots>;
  /**
   * Changes properties of the image, in QEMU's order. Options that are wrong or do not go together are
   * refused before anything is changed. Absent: the format has nothing to change.
   */
  amend?(options: AmendOptions): Promise<void>;
  /**
   * Has to be asked before `length` bytes at `host` of the storage of guest data are written in place. Undefined:
   * they may be; otherwise when the promise resolves. Throws `E_CORRUPT` when that would destroy metadata.
   */
  beforeOverwrite?(host: HostOffset, length: number): Promise<void> | undefined;
  /** Takes note, for the bitmaps, that the guest bytes [start, end) are being changed. */
  changing?(start: number, end: number): void;
  /**
   * Bytes that the image's persistent bitmaps would take in an image with clusters of that size.
   * Absent: it cannot have bitmaps.
   */
  readonly bitmapBytes?: ((clusterSize: number) => Promise<number>) | undefined;
  /** Releases what the image holds; does not close the storage. */
  close(): Promise<void>;
}

/**
 * A change to the mapping of a range of guest bytes. It owns the clusters it touches: a change that
 * overlaps waits for it. Nothing becomes visible before `commit`.
 */
export interface Change {
  /** First guest byte covered; at or after the start that was asked for. */
  readonly start: GuestOffset;
  /** End (exclusive) of what is covered; at or before the end that was asked for. */
  readonly end: GuestOffset;
  /** Storage offset where guest byte `start` will be; contiguous up to `end`. Zeroing: nowhere. */
  readonly host: HostOffset;
  /**
   * Guest ranges next to [start, end) that share its new clusters and have to be filled with what
   * the guest sees there now, at the same distance from `host` as in the guest. Storage offset of
   * guest byte g: `host + (g − start)`.
   */
  readonly edges: readonly Edge[];
  /** Makes the new mapping visible. The data must have been written. */
  commit(): Promise<void>;
  /** Gives everything back. */
  abort(): Promise<void>;
}

/** Places for guest clusters of which is not known yet which of them will have data. */
export interface Places {
  /** End of the guest range they are for. */
  readonly end: GuestOffset;
  /**
   * `fixed`: guest byte g has its place at `host` + g − start already. `next`: the first cluster with data gets the
   * place at `host`, and the others follow in guest order.
   */
  readonly placing: "fixed" | "next";
  readonly host: HostOffset;
  /** Makes the data of these runs, which start and end at clusters, visible, and gives the other places back. */
  commit(runs: readonly Edge[]): Promise<void>;
  /** Gives all places back. */
  abort(): Promise<void>;
}

/** A guest range `[start, end)` beside a change that copy-on-write has to fill. */
export interface Edge {
  readonly start: GuestOffset;
  readonly end: GuestOffset;
}

/** How an image is resized. */
export interface ResizeOptions {
  readonly preallocation?: Preallocation;
  /**
   * Size of the disk behind the image in bytes; default 0. Where it reaches past the old end, what is
   * preallocated with its space must not let it show.
   */
  readonly backingSize?: number;
}

/** The preallocation modes of `qemu-img`. */
export type Preallocation = "off" | "metadata" | "falloc" | "full";

/** The write side of an image. Each verb takes as much of the range as it can in one change. */
export interface ImageWriter {
  /** Finds or makes a place for the guest bytes [at, end). */
  ensure(at: GuestOffset, end: GuestOffset): Promise<Change>;
  /**
   * Finds room for one packed cluster. `at` is cluster-aligned; `packedLength` is smaller than the
   * cluster. Absent: the format does not compress.
   */
  ensureCompressed?(at: GuestOffset, packedLength: number): Promise<Change>;
  /**
   * Finds places for up to `most` bytes of clusters in [at, end), as they would be given one after the other. Undefined
   * where these would not follow each other in the file, or something is there already. Absent: never.
   */
  ensureMany?(at: GuestOffset, end: GuestOffset, most: number): Promise<Places | undefined>;
  /**
   * Makes whole subclusters of [at, end) read as zeros without storing them; `unmap` lets go of the
   * place of whole clusters, otherwise it is kept. Undefined when the format cannot express it for the
   * cluster at `at`: write zeros instead.
   */
  zero(
    at: GuestOffset,
    end: GuestOffset,
    options: { readonly unmap: boolean },
  ): Promise<Change | undefined>;
  /**
   * Forgets whole clusters of [at, end). They read as zeros afterwards, never as old data of a
   * backing image. Undefined where there is nothing to forget or no way to.
   */
  discard(at: GuestOffset, end: GuestOffset): Promise<Change | undefined>;
  /**
   * Forgets everything that the image holds, so that what is behind it shows. Absent: the format has
   * nothing behind it.
   */
  makeEmpty?(): Promise<void>;
  /**
   * Changes what the image says about the image behind it, in one write and for good; the mapping stays
   * as it is. Throws `E_NO_SPACE` or `E_INVALID_ARGUMENT` when the name does not fit. Absent: the format
   * has no such thing.
   */
  setBacking?(reference: BackingReference | undefined): Promise<void>;
  /** Changes the size of the guest's disk. */
  resize(size: number, options: ResizeOptions): Promise<void>;
  /** Resolves when all committed changes and their data are on stable storage. */
  flush(): Promise<void>;
}
