import type { Codecs } from "../codec/index.ts";
import {
  Disk,
  type BackingReference,
  type FileReference,
  type Image,
  type SnapshotReference,
} from "../disk/index.ts";
import { PlatterError, throwIfAborted } from "../errors.ts";
import type { LockMode, Storage } from "../storage/index.ts";
import type { EncryptionServices, Format, RuntimeOptions, Secrets } from "./format.ts";
import { formatNamed, formats, probe } from "./registry.ts";

/**
 * Decides about what an image names: opens it, or throws. `image` is the storage of the image that
 * names it, `above` that and all that led there, from the top down. What it names is either the backing
 * image or the file with its data; only the latter is ever written. A backing image that is given as a
 * disk is used as it is.
 */
export type ReferenceResolver = (
  reference: FileReference,
  image: Storage,
  above: readonly Storage[],
) => Promise<Storage | Disk>;

/** How a disk is opened. */
export interface DiskOptions {
  /** Open for writing; default false. Backing images are never opened for writing. */
  readonly writable?: boolean;
  /**
   * The format; found out from the first bytes when absent. What is taken for raw in this way and is
   * written cannot be given another format's header: such writes throw `E_PERMISSION`, as with QEMU.
   */
  readonly format?: string | undefined;
  /** `format` was found out from the first bytes, and nobody has said it. */
  readonly isProbed?: boolean;
  /**
   * What happens when an image names another file: `"deny"` (the default) throws
   * `E_REFERENCE_DENIED`; `"ignore"` opens the image alone, for looking at its structure: what is
   * behind it reads as zeros, and guest data in a file of its own cannot be read at all.
   */
  readonly references?: "deny" | "ignore" | ReferenceResolver;
  /**
   * How many images below the first one there is one that is opened for writing, too. The resolver of
   * references has to open its storage for that. Default: none is.
   */
  readonly writableDepth?: number | undefined;
  /** Leave out what is behind the image, as if there were zeros; its own data is there. */
  readonly alone?: boolean;
  /** Deepest backing chain that is followed; default 200. */
  readonly maxDepth?: number;
  /**
   * What others may do with the storage of a layer of that format, once the format is known. Absent:
   * storages are locked as they come.
   */
  readonly lock?: (format: string) => LockMode;
  readonly codecs?: Codecs;
  /** Where the secrets of encrypted images come from, by their names. */
  readonly secrets?: Secrets | undefined;
  /** The formats to choose from; default those that come with Platter. */
  readonly formats?: readonly Format[];
  /** See the format's open options. */
  readonly barriers?: boolean;
  /** Bytes of tables kept in memory, per image. */
  readonly cacheSize?: number;
  /** Show what this internal snapshot of the top image keeps instead of its present state. */
  readonly snapshot?: SnapshotReference | undefined;
  /** What the user says about the top image beyond what is in it. */
  readonly runtime?: RuntimeOptions | undefined;
  /** Open the top image for repair, see the format's open options. */
  readonly repair?: boolean | "look";
  /** Receives what images that were not closed cleanly are repaired of on the way, line by line. */
  readonly onRepair?: ((message: string) => void) | undefined;
  /** Receives what QEMU says on stderr of damage that is found while an image is in use. */
  readonly onCorruption?: ((message: string) => void) | undefined;
  /** Open the top image for inspection only, see the format's open options. */
  readonly inspect?: boolean;
  /** Storages of the images that this one is behind, to find loops and to limit the depth. */
  readonly above?: readonly Storage[];
  readonly signal?: AbortSignal | undefined;
  /** Receives sentences that the user should see but that are not errors, in QEMU's words. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

const defaultDepth = 200;

/** What encrypted images need, as far as it is at hand. */
export async function encryptionServices({
  codecs,
  secrets,
}: Pick<DiskOptions, "codecs" | "secrets">): Promise<EncryptionServices | undefined> {
  const crypto = secrets && (await codecs?.crypto?.());
  return crypto && { crypto, secrets };
}

/**
 * Opens the image in `storage` and, as far as the policy allows, everything behind it. Takes charge
 * of `storage`: it is closed when opening fails, and with the disk.
 */
export async function openDisk(storage: Storage, options: DiskOptions = {}): Promise<Disk> {
  return openLayer(storage, options, options.above ?? []);
}

async function openLayer(
  storage: Storage,
  options: DiskOptions,
  above: readonly Storage[],
  dataFiles: readonly Storage[] = [],
): Promise<Disk> {
  const { signal, maxDepth = defaultDepth, formats: known = formats } = options;
  let image: Image | undefined;
  let dataStorage: Storage | undefined;
  try {
    throwIfAborted(signal);
    refuseLoop(storage, [...above, ...dataFiles]);
    if (above.length > maxDepth) {
      throw new PlatterError(
        "E_CHAIN_DEPTH",
        `${storage.name}: the backing chain of ${above[0]?.name} is more than ${maxDepth} images deep`,
        { file: storage.name, value: above.length },
      );
    }
    const format =
      options.format === undefined
        ? await probe(storage, known)
        : formatNamed(options.format, "open", known);
    if (options.lock !== undefined) storage.lock?.(options.lock(format.name));
    const { isProbed = options.format === undefined, writable = false } = options;
    const guarded =
      isProbed && writable && format.name === "raw"
        ? new (await import("./probed-raw.ts")).ProbedRawStorage(storage, known)
        : storage;
    image = await format.open(guarded, {
      writable,
      onWarning: options.onWarning,
      ...(options.barriers !== undefined && { barriers: options.barriers }),
      ...(options.cacheSize !== undefined && { cacheSize: options.cacheSize }),
      ...(options.inspect !== undefined && { inspect: options.inspect }),
      runtime: options.runtime,
      repair: options.repair,
      encryption: await encryptionServices(options),
      onRepair: options.onRepair,
      onCorruption: options.onCorruption,
      snapshot: options.snapshot,
      ...(options.references !== "ignore" && {
        openDataFile: async (name: string) => {
          dataStorage = await openDataFile(name, storage, above, options);
          refuseLoop(dataStorage, [...above, ...dataFiles, storage], "data file");
          if (options.lock !== undefined)
            dataStorage.lock?.(options.lock(options.writable === true ? format.name : "raw"));
          return dataStorage;
        },
      }),
    });
    if (options.snapshot !== undefined && image.snapshots === undefined) {
      throw withoutSnapshots(storage.name, format.name);
    }
    const backing =
      image.backing === undefined || options.references === "ignore" || options.alone === true
        ? undefined
        : await openBacking(
            image.backing,
            storage,
            options,
            [...above, storage],
            [...dataFiles, ...(dataStorage === undefined ? [] : [dataStorage])],
          );
    return new Disk(image, backing, options.codecs);
  } catch (error) {
    // An image that is open for writing has marks in the file that closing takes away.
    await image?.close().catch(() => undefined);
    await dataStorage?.close();
    await storage.close();
    throw error;
  }
}

function withoutSnapshots(file: string, format: string): PlatterError {
  return new PlatterError(
    "E_SNAPSHOT_NOT_FOUND",
    `${file}: ${format} images have no internal snapshots`,
    {
      file,
      qemu:
        `Failed to load snapshot: Block format '${format}' used by device '' does not support ` +
        `temporarily loading internal snapshots`,
    },
  );
}

/** The file with the data of `image`, as the policy has it. */
async function openDataFile(
  name: string,
  image: Storage,
  above: readonly Storage[],
  { references = "deny", writable = false }: DiskOptions,
): Promise<Storage> {
  if (typeof references !== "function") {
    throw new PlatterError(
      "E_REFERENCE_DENIED",
      `${image.name}: the image keeps its data in "${name}", which the open policy does not allow ` +
        `to open; pass "references" to open() to allow it`,
      { file: image.name, field: "data file", value: name },
    );
  }
  const found = await references({ kind: "data-file", name, writable }, image, above);
  if (!(found instanceof Disk)) return found;
  await found.close();
  throw new PlatterError(
    "E_UNSUPPORTED",
    `${image.name}: the data file "${name}" has to be given as a storage, not as a disk`,
    { file: image.name, field: "data file", value: name },
  );
}

async function openBacking(
  reference: BackingReference,
  image: Storage,
  options: DiskOptions,
  above: readonly Storage[],
  dataFiles: readonly Storage[],
): Promise<Disk> {
  const { references = "deny" } = options;
  if (references === "deny" || references === "ignore") {
    throw new PlatterError(
      "E_REFERENCE_DENIED",
      `${image.name}: the image needs its backing file "${reference.name}", which the open policy ` +
        `does not allow to open; pass "references" to open() to allow it`,
      { file: image.name, field: "backing file", value: reference.name },
    );
  }
  try {
    const writable = above.length === options.writableDepth;
    const found = await references({ ...reference, kind: "backing", writable }, image, above);
    if (found instanceof Disk) return found;
    const {
      runtime: _ofTop,
      isProbed: _notThat,
      inspect: _also,
      snapshot: _too,
      repair: _and,
      ...common
    } = options;
    const below = { ...common, format: reference.format, writable };
    return await openLayer(found, below, above, dataFiles);
  } catch (error) {
    throw asBackingError(error);
  }
}

/** Puts QEMU's words for "it is the backing file" in front of QEMU's words for the error. */
function asBackingError(error: unknown): unknown {
  if (!(error instanceof PlatterError) || error.code === "E_ABORTED") return error;
  const qemu = `Could not open backing file: ${error.details.qemu ?? error.message}`;
  return new PlatterError(error.code, error.message, { ...error.details, qemu });
}

/** An image that is behind itself would be read for ever. */
function refuseLoop(
  storage: Storage,
  above: readonly Storage[],
  field: "backing file" | "data file" = "backing file",
): void {
  const loop = above.find(
    (other) =>
      other === storage || (storage.identity !== undefined && other.identity === storage.identity),
  );
  if (loop === undefined) return;
  if (field === "data file") {
    throw new PlatterError(
      "E_CHAIN_LOOP",
      `${above.at(-1)?.name}: the data file ${storage.name} is the same file as ${loop.name}`,
      { file: above.at(-1)?.name, field, value: storage.name },
    );
  }
  throw new PlatterError(
    "E_CHAIN_LOOP",
    `${storage.name}: the backing chain of ${above[0]?.name} leads back to ${loop.name}`,
    { file: storage.name, field: "backing file", value: loop.name },
  );
}
