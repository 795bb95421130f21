import { host } from "../../bytes/index.ts";
import type { BackingReference } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Storage, WritableStorage } from "../../storage/index.ts";
import type { FormatOpenOptions, RuntimeOptions } from "../format.ts";
import type { BitmapState } from "./bitmap-extension.ts";
import { ExtensionType } from "./extensions.ts";
import { openDataFile } from "./data-file.ts";
import { autoclear, compatible, incompatible } from "./features.ts";
import {
  backingFormat,
  decodeHeader,
  headerStructure,
  maxHeaderBytes,
  version2Length,
  type Header,
} from "./header.ts";
import { Qcow2Image } from "./image.ts";
import { invalid } from "./invalid.ts";
import { Metadata, WritableMetadata, type ImageEncryption } from "./metadata.ts";
import type { Qcow2RuntimeOptions } from "./runtime-options.ts";
import type { SnapshotTable } from "./snapshot-table.ts";

/**
 * Opens an image. Checks header and L1 table against the file and QEMU's limits; L2 tables and
 * refcounts are checked when they are used.
 */
export async function open(storage: Storage, options: FormatOpenOptions): Promise<Qcow2Image> {
  const header = decodeHeader(await firstCluster(storage), storage.name);
  if (options.writable && options.repair !== true) refuseWriting(header, storage.name);
  const runtime = await runtimeOptions(options.runtime, header, storage.name);
  const l2Budget = runtime?.l2CacheSize ?? options.cacheSize;
  // A check tells what is wrong with the table of snapshots, so that it must not be in its way.
  const checks = options.repair === true || options.repair === "look";
  const snapshots = checks ? undefined : await snapshotsOf(storage, header);
  const dataFile = await openDataFile(header, storage.name, options.openDataFile);
  if (options.writable && dataFile !== undefined) writable(dataFile.storage);
  const loaded = await Metadata.load(storage, header, {
    ...(l2Budget !== undefined && { l2Budget }),
    qemuCache: { l2Cache: runtime?.l2CacheSize, slice: runtime?.l2SliceSize },
    refcountBudget: runtime?.refcountCacheSize,
    onCorruption: options.onCorruption,
    dataFile,
    snapshots,
    encryption: await encryptionOf(storage, header, options),
  });
  if (options.snapshot !== undefined) {
    const { showSnapshot } = await import("./show-snapshot.ts");
    await showSnapshot(loaded, options.snapshot);
  }
  const backing = backingReference(header);
  const { extension, outdated } = await bitmapsOf(header, storage.name);
  if (outdated !== undefined) options.onWarning?.(outdated);
  if (!options.writable) {
    const image = new Qcow2Image(loaded, backing);
    if (extension !== undefined) await image.loadBitmaps();
    return image;
  }
  await loaded.loadRefcounts();
  const metadata = new WritableMetadata(loaded, writable(storage), {
    headerIsLive: true,
    barriers: options.barriers ?? true,
    overlapSections: runtime?.overlapSections,
    lazyRefcounts: options.repair !== true && (runtime?.lazyRefcounts ?? isLazy(header)),
  });
  // What the others vouch for is not kept up to date here (specification, "autoclear_features").
  const known = autoclear.bitmaps | (dataFile === undefined ? 0n : autoclear.rawData);
  const kept = header.fields.autoclear_features & known;
  if (header.fields.autoclear_features !== kept) {
    await metadata.updateHeader({ autoclear_features: kept });
  }
  if (outdated !== undefined) await dropBitmaps(metadata);
  const isDirty = (header.fields.incompatible_features & incompatible.dirty) !== 0n;
  if (isDirty && options.repair !== true) await repairDirty(metadata, options);
  const image = new Qcow2Image(metadata, backing);
  if (extension !== undefined) await image.loadBitmaps();
  return image;
}

/** The snapshot table, which most images do not have. */
async function snapshotsOf(storage: Storage, header: Header): Promise<SnapshotTable> {
  const { nb_snapshots: count, snapshots_offset } = header.fields;
  if (count === 0) return { entries: [], offset: host(Number(snapshots_offset)), size: 0 };
  const { readSnapshotTable } = await import("./snapshot-table.ts");
  return readSnapshotTable(storage, header);
}

/** How the image is encrypted, which most are not. */
async function encryptionOf(
  storage: Storage,
  header: Header,
  { runtime = {}, encryption: services, inspect = false }: FormatOpenOptions,
): Promise<ImageEncryption | undefined> {
  if (header.fields.crypt_method === 0) return undefined;
  const { imageEncryption, openEncryption } = await import("./encryption.ts");
  return imageEncryption(await openEncryption(storage, header, { runtime, services, inspect }));
}

/** What the header says of bitmaps. */
async function bitmapsOf(header: Header, file: string): Promise<BitmapState> {
  const none = !header.extensions.some(({ type }) => type === ExtensionType.bitmaps);
  if (none) return { extension: undefined, outdated: undefined };
  const { bitmapState } = await import("./bitmap-extension.ts");
  return bitmapState(header, file);
}

/** Nobody shall take bitmaps for valid that do not know of what was written since. */
async function dropBitmaps(metadata: WritableMetadata): Promise<void> {
  const { extensions } = metadata.header;
  await metadata.replaceExtensions(extensions.filter(({ type }) => type !== ExtensionType.bitmaps));
}

const isLazy = ({ fields }: Header): boolean =>
  (fields.compatible_features & compatible.lazyRefcounts) !== 0n;

/** What the user's options for this opening say; reading them is loaded when needed. */
async function runtimeOptions(
  runtime: RuntimeOptions = {},
  header: Header,
  file: string,
): Promise<Qcow2RuntimeOptions | undefined> {
  if (Object.keys(runtime).length === 0) return undefined;
  const { readRuntimeOptions } = await import("./runtime-options.ts");
  return readRuntimeOptions(runtime, header, file);
}

/**
 * The first cluster, or as much of it as the file has. What is missing of the header counts as zeros,
 * as with QEMU.
 */
async function firstCluster(storage: Storage): Promise<Uint8Array> {
  const start = new Uint8Array(Math.max(version2Length, Math.min(storage.size, 4096)));
  await storage.read(0, start);
  const clusterSize = 2 ** Math.min(Math.max(headerStructure.read(start).cluster_bits, 9), 21);
  if (clusterSize <= start.length) return start.subarray(0, clusterSize);
  const whole = new Uint8Array(Math.min(storage.size, clusterSize, maxHeaderBytes));
  await storage.read(0, whole);
  return whole;
}

function refuseWriting({ fields }: Header, file: string): void {
  if ((fields.incompatible_features & incompatible.corrupt) !== 0n) {
    throw invalid(file, "E_CORRUPT_BIT", "qcow2: Image is corrupt; cannot be opened read/write", {
      field: "incompatible_features",
      advice: `run "qemu-img check -r all" on it`,
    });
  }
}

/** An image that was not closed cleanly: its refcounts cannot be relied on before they are repaired. */
async function repairDirty(
  metadata: WritableMetadata,
  { onRepair }: FormatOpenOptions,
): Promise<void> {
  const { repair } = await import("./repair.ts");
  const { problems, checkErrors } = await repair(metadata, { what: "all" });
  for (const { message } of problems) onRepair?.(message);
  if (checkErrors === 0) return;
  throw invalid(metadata.storage.name, "E_DIRTY", "Could not repair dirty image", {
    field: "incompatible_features",
    advice: `look at what "check -r all" says of it`,
  });
}

function writable(storage: Storage): WritableStorage {
  if (storage.write === undefined || storage.flush === undefined) {
    throw new PlatterError("E_READ_ONLY", `${storage.name}: the storage cannot be written`, {
      file: storage.name,
    });
  }
  return storage as WritableStorage;
}

function backingReference(header: Header): BackingReference | undefined {
  const { backingName: name } = header;
  return name === undefined ? undefined : { name, format: backingFormat(header) };
}
