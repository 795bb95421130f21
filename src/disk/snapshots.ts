/** An internal snapshot: a state of the disk that the image keeps beside the present one. */
export interface SnapshotInfo {
  /** Unique in the image; usually a number. */
  readonly id: string;
  /** What the user called it; need not be unique. */
  readonly name: string;
  /** Bytes of the machine's state that belong to it; 0 for a snapshot of the disk alone. */
  readonly vmStateSize: number;
  /** When it was made: seconds since 1970, and nanoseconds. */
  readonly date: { readonly seconds: number; readonly nanoseconds: number };
  /** Nanoseconds that the machine had run. */
  readonly vmClock: bigint;
  /** Instructions that the machine had run, where that was counted. */
  readonly icount: bigint | undefined;
  /** Bytes of the guest's disk. */
  readonly diskSize: number;
}

/** Which snapshot is meant: by id, by name, or, given as text, by the id or else the name it is. */
export type SnapshotReference =
  | string
  | { readonly id: string; readonly name?: string | undefined }
  | { readonly id?: string | undefined; readonly name: string };

/** What a new snapshot is. */
export interface NewSnapshot {
  readonly name: string;
  readonly date: SnapshotInfo["date"];
}

/**
 * The internal snapshots of an image. Verbs take effect as a whole: a process that is killed on the way
 * leaves the image with or without the change, and space lost at worst.
 *
 * Verbs throw `E_SNAPSHOT_NOT_FOUND`; on an image that is open for reading `E_READ_ONLY`; and
 * `E_CORRUPT` where the image's own numbers are in the way.
 */
export interface Snapshots {
  /** All snapshots, in the order of the file. */
  list(): SnapshotInfo[];
  /** The snapshot that is meant, if there is one. */
  find(reference: SnapshotReference): SnapshotInfo | undefined;
  /** Keeps the present state. Throws `E_LIMIT`, `E_NO_SPACE`, `E_UNSUPPORTED`. */
  create(snapshot: NewSnapshot): Promise<SnapshotInfo>;
  /** Makes the disk what it was, also in size. What it is now is lost; the snapshot stays. */
  apply(reference: SnapshotReference): Promise<void>;
  /** Forgets a snapshot. */
  remove(reference: SnapshotReference): Promise<void>;
}

/** The snapshot that `reference` means; an id goes before a name. */
export function findSnapshot<S extends Pick<SnapshotInfo, "id" | "name">>(
  snapshots: readonly S[],
  reference: SnapshotReference,
): S | undefined {
  if (typeof reference === "string") {
    return (
      snapshots.find(({ id }) => id === reference) ??
      snapshots.find(({ name }) => name === reference)
    );
  }
  return snapshots.find(
    ({ id, name }) =>
      (reference.id === undefined || reference.id === id) &&
      (reference.name === undefined || reference.name === name),
  );
}
