import type { LockMode, Storage, WritableStorage } from "./storage.ts";

/** How a storage is opened. */
export interface OpenMode {
  readonly writable: boolean;
  /** What others may do meanwhile; `exclusive` unless given. */
  readonly lock?: LockMode;
  /** Past the host's page cache (O_DIRECT). Refused where the filesystem cannot. */
  readonly direct?: boolean | undefined;
}

/** How a new file gets its name. */
export interface PublishOptions {
  readonly durable: boolean;
}

/** A new file that nobody sees under its name, or sees as unfinished, until it is published. */
export interface NewStorage {
  readonly storage: WritableStorage;
  /** The file is complete: give it its name. `durable`: that, too, reaches stable storage. */
  publish(options?: PublishOptions): Promise<void>;
  /** Remove what was made, and leave what was there before. */
  discard(): Promise<void>;
}

/**
 * Where names become storages: the file system in Node, nothing at all in a browser unless the page
 * brings its own. Commands and backing chains open files only through it.
 */
export interface StorageProvider {
  /** Opens an existing storage. */
  open(name: string, mode: OpenMode): Promise<Storage>;
  /**
   * Makes a new file, or replaces an existing one when it is published. A device is opened as it
   * is; publishing and discarding do nothing then.
   */
  create(name: string, options?: CreateStorageOptions): Promise<NewStorage>;
  /** Whether something of that name exists. */
  exists(name: string): Promise<boolean>;
  /**
   * The name that `reference`, found inside the image `image`, stands for; `kind` is what it names, by
   * default the backing image.
   */
  resolve(reference: string, image: string, kind?: "backing" | "data-file"): string;
}

/** How a new file is made. */
export interface CreateStorageOptions {
  /** Turn copy-on-write off on filesystems that have it (`chattr +C`). */
  readonly nocow?: boolean;
  /** Extent size hint in bytes for filesystems that take one; 0 for none. */
  readonly extentSizeHint?: number;
  /**
   * Write under a temporary name until published, also where nothing has the name yet. For content
   * that does not say by itself that it is unfinished (raw).
   */
  readonly staged?: boolean;
  /** Past the host's page cache, as in {@link OpenMode}. */
  readonly direct?: boolean | undefined;
}
