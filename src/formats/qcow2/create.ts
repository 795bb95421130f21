import { host } from "../../bytes/index.ts";
import type { BackingReference } from "../../disk/index.ts";
import { inQemuWords, PlatterError } from "../../errors.ts";
import type { WritableStorage } from "../../storage/index.ts";
import type { FormatCreateOptions, NewImage } from "../format.ts";
import type { DataFile } from "./data-file.ts";
import type { NewEncryption } from "./encryption.ts";
import { ExtensionType, type Extension } from "./extensions.ts";
import { autoclear, compatible, incompatible } from "./features.ts";
import { entrySize, maxL1Bytes, type Geometry } from "./geometry.ts";
import {
  compressionTypes,
  encodeHeader,
  magic,
  version2Length,
  version3Length,
  type Header,
} from "./header.ts";
import { Qcow2Image } from "./image.ts";
import { L1Table } from "./l1-table.ts";
import { Metadata, WritableMetadata, geometryOf } from "./metadata.ts";
import { checkCreateOptions, type Qcow2CreateOptions } from "./options.ts";
import { resize } from "./resize.ts";

/**
 * Starts a new image in the empty `storage`. What is there before `finish` is a header that nobody
 * opens: it demands a feature named "unfinished". Metadata ends up byte for byte where
 * `qemu-img create` puts it.
 */
export async function create(
  storage: WritableStorage,
  options: FormatCreateOptions,
): Promise<NewImage> {
  const checked = checkCreateOptions(options, storage.name);
  const encryption = await encryptionFor(options, checked, storage);
  const header = newHeader(checked, options.backing);
  header.fields.crypt_method = encryption?.method ?? 0;
  const geometry = geometryOf(header.fields);
  refuseTooLarge(checked.size, geometry, storage.name);
  // Finds out now whether everything fits into the first cluster.
  encodeHeader(header, storage.name);
  await storage.write(0, encodeHeader(placeholder(header), storage.name));

  const dataFile: DataFile | undefined =
    checked.dataFile === undefined
      ? undefined
      : { storage: dataStorage(options, storage.name), raw: checked.dataFileRaw };
  const metadata = await firstClusters(storage, header, geometry, dataFile);
  await inQemuWords("Could not resize image: ", () =>
    resize(metadata, checked.size, { preallocation: checked.preallocation }),
  );
  if (encryption !== undefined) {
    const { imageEncryption } = await import("./encryption.ts");
    metadata.encryption = imageEncryption(await encryption.create(metadata));
  }
  const image = new Qcow2Image(metadata, options.backing);
  return {
    image,
    async finish({ durable }) {
      await image.writer?.storeBitmaps();
      await image.writer?.finish(durable);
      await storage.write(0, encodeHeader(header, storage.name));
      if (durable) await storage.flush();
      metadata.goLive();
    },
  };
}

/** What is loaded only when an encrypted image is made. */
async function encryptionFor(
  { values = {}, encryption }: FormatCreateOptions,
  { encryptionFormat }: Qcow2CreateOptions,
  storage: WritableStorage,
): Promise<NewEncryption | undefined> {
  if (encryptionFormat === undefined) return undefined;
  const { newEncryption } = await import("./encryption.ts");
  return newEncryption(values, encryptionFormat, encryption, storage);
}

/** Header, refcount table and first refcount block: one cluster each, in this order. */
async function firstClusters(
  storage: WritableStorage,
  header: Header,
  { clusterSize }: Geometry,
  dataFile: DataFile | undefined,
): Promise<WritableMetadata> {
  const table = new Float64Array(clusterSize / entrySize);
  table[0] = 2 * clusterSize;
  const start = new Metadata(storage, header, new L1Table(host(0), new Uint8Array(0)), {
    dataFile,
  });
  start.startRefcounts(host(clusterSize), table);
  const metadata = new WritableMetadata(start, storage, { headerIsLive: false, barriers: false });
  await storage.write(clusterSize, new Uint8Array(clusterSize));
  metadata.refcounts.dirtyEntries.add(0);
  metadata.refcounts.blocks.create(host(2 * clusterSize));
  await metadata.allocator.allocate(3);
  return metadata;
}

/** The file for the data, which whoever creates an image with such options has to bring. */
function dataStorage({ dataStorage: storage }: FormatCreateOptions, file: string): WritableStorage {
  if (storage !== undefined) return storage;
  throw new PlatterError(
    "E_INVALID_ARGUMENT",
    `${file}: data_file names a file for the data, but none was opened for it`,
    { file, field: "data_file" },
  );
}

function newHeader(options: Qcow2CreateOptions, backing: BackingReference | undefined): Header {
  const { version, clusterBits, refcountOrder, compression, lazyRefcounts, extendedL2 } = options;
  const extensions: Extension[] = [];
  const name = (type: number, text: string | undefined): void => {
    if (text !== undefined) extensions.push({ type, data: new TextEncoder().encode(text) });
  };
  name(ExtensionType.backingFormat, backing?.format);
  name(ExtensionType.dataFile, options.dataFile);
  return {
    fields: {
      magic,
      version,
      backing_file_offset: 0n,
      backing_file_size: 0,
      cluster_bits: clusterBits,
      size: 0n,
      crypt_method: 0,
      l1_size: 0,
      l1_table_offset: 0n,
      refcount_table_offset: BigInt(2 ** clusterBits),
      refcount_table_clusters: 1,
      nb_snapshots: 0,
      snapshots_offset: 0n,
      incompatible_features:
        (compression === "zlib" ? 0n : incompatible.compression) |
        (extendedL2 ? incompatible.extendedL2 : 0n) |
        (options.dataFile === undefined ? 0n : incompatible.dataFile),
      compatible_features: lazyRefcounts ? compatible.lazyRefcounts : 0n,
      autoclear_features: options.dataFileRaw ? autoclear.rawData : 0n,
      refcount_order: refcountOrder,
      header_length: version === 2 ? version2Length : version3Length,
      compression_type: compressionTypes.indexOf(compression),
    },
    additional: new Uint8Array(0),
    extensions,
    backingName: backing?.name,
  };
}

/** The header that stands in for `header` while the image is being made. */
function placeholder({ fields }: Header): Header {
  return {
    fields: {
      ...fields,
      version: 3,
      incompatible_features: fields.incompatible_features | incompatible.unfinished,
    },
    additional: new Uint8Array(0),
    extensions: [],
    backingName: undefined,
  };
}

function refuseTooLarge(size: number, geometry: Geometry, file: string): void {
  if (geometry.l1Entries(size) * entrySize <= maxL1Bytes) return;
  const text =
    "The image size is too large for file format 'qcow2' (try using a larger cluster size)";
  throw new PlatterError(
    "E_LIMIT",
    `${file}: a disk of ${size} bytes is too large for clusters of ${geometry.clusterSize} bytes; ` +
      `try a larger cluster_size`,
    { file, field: "size", value: size, qemu: text },
  );
}
