import type { Crypto } from "../codec/index.ts";
import type { BackingReference, Image, SnapshotReference } from "../disk/index.ts";
import type { Storage, WritableStorage } from "../storage/index.ts";
import type { FormatAudit } from "./audit.ts";
import type { Measurement, MeasureOptions } from "./measure.ts";

/**
 * A disk image format. A new one is a folder beside this file and one line in the registry; a
 * program can also pass its own to `open`.
 */
export interface Format {
  /** The name, as in `qemu-img -f`. */
  readonly name: string;
  /**
   * How sure the format is, from 0 (no) to 100, that a storage that starts with `head` (up to 2 KiB)
   * is of this format. `raw` says 1 to everything.
   */
  probe(head: Uint8Array): number;
  /**
   * Looks at a file that may be of this format for what could do harm, without opening it as an image
   * and without following what it names. Absent: the format has no structure to look at.
   */
  audit?(storage: Storage): Promise<FormatAudit>;
  /**
   * Opens an image. Never opens anything that the image names, but for the file with its own data,
   * through `openDataFile`.
   */
  open(storage: Storage, options: FormatOpenOptions): Promise<Image>;
  /** Names of what {@link FormatOpenOptions.runtime} may hold; one with a dot at its end is a group. */
  readonly runtimeOptions?: readonly string[];
  /** Images can have another image behind them. */
  readonly hasBacking?: boolean;
  /** What can be said when creating an image, in QEMU's order. Absent: the format only reads. */
  readonly createOptions?: readonly FormatOption[];
  /** What can be changed about an image with `qemu-img amend -o`. Absent: nothing. */
  readonly amendOptions?: readonly FormatOption[];
  /**
   * Writes a new, empty image to `storage`, which is empty. Until `finish` has resolved, the storage
   * does not open as an image of any kind.
   */
  create?(storage: WritableStorage, options: FormatCreateOptions): Promise<NewImage>;
  /** Tells how large a new image would become. Absent: it cannot be told. */
  measure?(options: MeasureOptions): Promise<Measurement>;
  /**
   * The separate file for guest data that creation options ask for. `keep`: it exists, and its contents
   * stay; otherwise it is made. Absent: the format has no such thing.
   */
  newDataFile?(values: FormatOptionValues): { name: string; keep: boolean } | undefined;
}

/** Gives the secret of that name. Throws `E_SECRET` when there is none. */
export type Secrets = (id: string) => Promise<Uint8Array>;

/** What encrypted images need. */
export interface EncryptionServices {
  readonly crypto: Crypto;
  readonly secrets: Secrets;
}

/** How a format opens an image. */
export interface FormatOpenOptions {
  readonly writable: boolean;
  /**
   * Open for inspection only: facts such as a corrupt or dirty mark or an unsupported feature do not
   * prevent it where they can still be reported.
   */
  readonly inspect?: boolean;
  /**
   * Open for repair: damage that can be repaired does not prevent it. With `writable`. `"look"`: open for a
   * check, which tells of it.
   */
  readonly repair?: boolean | "look" | undefined;
  /** Receives what an image that was not closed cleanly was repaired of on the way, line by line. */
  readonly onRepair?: ((message: string) => void) | undefined;
  /** Receives what QEMU says on stderr of damage that is found while the image is in use. */
  readonly onCorruption?: ((message: string) => void) | undefined;
  /** Guest data and metadata reach stable storage in order, at the price of flushes. Default true. */
  readonly barriers?: boolean;
  /** Bytes of tables kept in memory. */
  readonly cacheSize?: number;
  /** Receives sentences that the user should see but that are not errors, in QEMU's words. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** What encrypted images need, and where their secrets come from. Absent: they do not open. */
  readonly encryption?: EncryptionServices | undefined;
  /** Show what this internal snapshot keeps instead of the present state. For reading only. */
  readonly snapshot?: SnapshotReference | undefined;
  /** What the user says about this image beyond what is in it. */
  readonly runtime?: RuntimeOptions | undefined;
  /**
   * Opens the file in which the image says that its guest data lies, by the open policy; for writing
   * if the image is. Absent: the image is opened for its structure, without that file.
   */
  readonly openDataFile?: (name: string) => Promise<Storage>;
}

/**
 * Options of a format for one opening, by QEMU's names, unchecked: `offset` and `size` of raw,
 * `encrypt.key-secret` of qcow2. A format refuses by name what it does not know.
 */
export type RuntimeOptions = Readonly<Record<string, string | number | boolean | null>>;

/** An image that is being made. */
export interface NewImage {
  /** Open for writing; it can be filled before it is finished. */
  readonly image: Image;
  /** Makes the storage a valid image. `durable`: and everything is on stable storage. */
  finish(options: { readonly durable: boolean }): Promise<void>;
}

/** A creation option, as `qemu-img create -o` takes it. */
export interface FormatOption {
  readonly name: string;
  readonly type: "string" | "size" | "number" | "boolean";
  /** In a few words. */
  readonly help: string;
  /** What is used, and shown, when the user says nothing. */
  readonly default?: string | number | boolean;
  /** The option is about the file, not the format inside it. */
  readonly file?: boolean;
  /** QEMU 7.2 does not have it: not shown in its help. */
  readonly newer?: boolean;
}

/** Creation options by name, of the types that the table gives them. */
export type FormatOptionValues = Readonly<Record<string, string | number | boolean>>;

/** What a new image shall be. */
export interface FormatCreateOptions {
  /** Size of the guest's disk in bytes. */
  readonly size: number;
  readonly backing?: BackingReference | undefined;
  /** Values for {@link Format.createOptions}; absent ones take their defaults. */
  readonly values?: FormatOptionValues;
  /** What is needed to make an encrypted image. */
  readonly encryption?: EncryptionServices | undefined;
  /** The file for guest data that `values` name, empty or to be kept, where they name one. */
  readonly dataStorage?: WritableStorage | undefined;
}
