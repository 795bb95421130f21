import { Structure, type Values } from "../../bytes/index.ts";
import type { CompressionType } from "../../codec/index.ts";
import { PlatterError } from "../../errors.ts";
import {
  ExtensionType,
  decodeExtensions,
  encodeExtensions,
  nameText,
  type Extension,
} from "./extensions.ts";
import {
  FeatureKind,
  decodeFeatureNames,
  encodeFeatureNames,
  incompatible,
  knownFeatures,
  unfinishedName,
} from "./features.ts";
import { subclustersPerCluster } from "./geometry.ts";
import { invalid } from "./invalid.ts";

/** "QFI\xfb". */
export const magic = 0x5146_49fb;

/** Length of a version 2 header. */
export const version2Length = 72;
/** Length of the version 3 header that we and QEMU write. */
export const version3Length = 112;
/** Shortest version 3 header. */
const minimumVersion3Length = 104;
/** Longest backing file name. */
const maxBackingName = 1023;
/** QEMU adds the feature name table to images whose clusters are larger than this. */
const featureTableThreshold = 4096;

/** The image header (specification, "Header" and "Additional fields"). */
export const headerStructure = new Structure("Header", {
  magic: { at: 0, type: "u32", means: "QCOW magic string" },
  version: { at: 4, type: "u32", means: "version number, 2 or 3" },
  backing_file_offset: { at: 8, type: "u64", means: "where the backing file name is, or 0" },
  backing_file_size: { at: 16, type: "u32", means: "length of the backing file name" },
  cluster_bits: { at: 20, type: "u32", means: "log2 of the cluster size" },
  size: { at: 24, type: "u64", means: "virtual disk size in bytes" },
  crypt_method: { at: 32, type: "u32", means: "0 none, 1 AES, 2 LUKS" },
  l1_size: { at: 36, type: "u32", means: "entries in the active L1 table" },
  l1_table_offset: { at: 40, type: "u64", means: "where the active L1 table starts" },
  refcount_table_offset: { at: 48, type: "u64", means: "where the refcount table starts" },
  refcount_table_clusters: { at: 56, type: "u32", means: "clusters the refcount table occupies" },
  nb_snapshots: { at: 60, type: "u32", means: "number of snapshots" },
  snapshots_offset: { at: 64, type: "u64", means: "where the snapshot table starts" },
  incompatible_features: { at: 72, type: "u64", means: "features that must be understood" },
  compatible_features: { at: 80, type: "u64", means: "features that may be ignored" },
  autoclear_features: { at: 88, type: "u64", means: "features to clear when not understood" },
  refcount_order: { at: 96, type: "u32", means: "log2 of the refcount width in bits" },
  header_length: { at: 100, type: "u32", means: "length of the header in bytes" },
  compression_type: { at: 104, type: "u8", means: "0 zlib, 1 zstd" },
});

/** The fields of a header. Version 2 images get the values that version 2 implies. */
export type HeaderFields = Values<typeof headerStructure.fields>;

/** Everything that the first cluster of an image holds. */
export interface Header {
  readonly fields: HeaderFields;
  /** Bytes of the header after the fields known here, kept when it is rewritten. */
  readonly additional: Uint8Array;
  /** In the order of the file; the feature name table and the end marker are not among them. */
  extensions: readonly Extension[];
  backingName: string | undefined;
}

/** The compression types by their number in the header. */
export const compressionTypes: readonly CompressionType[] = ["zlib", "zstd"];

/** Bytes to read in order to see a whole header and its extensions, whatever the cluster size. */
export const maxHeaderBytes = 2 * 1024 * 1024;

/**
 * Decodes and validates the first cluster of an image. `bytes` are the file's first bytes, up to a
 * cluster or the end of the file; `file` is for messages.
 *
 * Checks what can be checked without reading on: version, lengths, cluster size, feature bits,
 * extension sizes and the backing file name. Throws `E_UNKNOWN_FORMAT`, `E_CORRUPT`,
 * `E_UNFINISHED` or `E_UNSUPPORTED_FEATURE`.
 */
export function decodeHeader(bytes: Uint8Array, file: string): Header {
  if (headerStructure.read(bytes).magic !== magic) {
    throw invalid(file, "E_UNKNOWN_FORMAT", "Image is not in qcow2 format", {
      field: "magic",
      advice: `the file does not start with "QFI\\xfb"; is the format really qcow2?`,
    });
  }
  const fields = headerStructure.read(bytes);
  if (fields.version !== 2 && fields.version !== 3) {
    throw invalid(file, "E_UNSUPPORTED_FEATURE", `Unsupported qcow2 version ${fields.version}`, {
      field: "version",
      value: fields.version,
    });
  }
  if (fields.cluster_bits < 9 || fields.cluster_bits > 21) {
    throw invalid(
      file,
      "E_UNSUPPORTED_FEATURE",
      `Unsupported cluster size: 2^${fields.cluster_bits}`,
      { field: "cluster_bits", value: fields.cluster_bits },
    );
  }
  if (fields.version === 2) {
    fields.incompatible_features = 0n;
    fields.compatible_features = 0n;
    fields.autoclear_features = 0n;
    fields.refcount_order = 4;
    fields.header_length = version2Length;
    fields.compression_type = 0;
  } else if (fields.header_length < minimumVersion3Length) {
    throw invalid(file, "E_CORRUPT", "qcow2 header too short", {
      field: "header_length",
      value: fields.header_length,
    });
  }
  const clusterSize = 2 ** fields.cluster_bits;
  if (fields.header_length > clusterSize) {
    throw invalid(file, "E_CORRUPT", "qcow2 header exceeds cluster size", {
      field: "header_length",
      value: fields.header_length,
    });
  }
  if (fields.header_length <= headerStructure.fields.compression_type.at) {
    fields.compression_type = 0;
  }
  const nameAt = fields.backing_file_offset;
  if (nameAt > BigInt(clusterSize)) {
    throw invalid(file, "E_CORRUPT", "Invalid backing file offset", {
      field: "backing_file_offset",
      value: nameAt,
    });
  }
  const extensionsEnd = nameAt === 0n ? clusterSize : Number(nameAt);
  const extensions = decodeExtensions(
    bytes.subarray(0, extensionsEnd),
    fields.header_length,
    extensionsEnd,
    file,
  );
  refuseUnknownFeatures(fields, extensions, file);
  refuseSmallSubclusters(fields, file);
  if (fields.refcount_order > 6) {
    throw invalid(
      file,
      "E_UNSUPPORTED_FEATURE",
      "Reference count entry width too large; may not exceed 64 bits",
      { field: "refcount_order", value: fields.refcount_order },
    );
  }
  validateCompression(fields, file);
  return {
    fields,
    additional: bytes.slice(Math.min(version3Length, fields.header_length), fields.header_length),
    extensions: extensions.filter(({ type }) => type !== ExtensionType.featureNames),
    backingName: nameAt === 0n ? undefined : backingName(bytes, fields, clusterSize, file),
  };
}

const understood =
  incompatible.dirty |
  incompatible.corrupt |
  incompatible.dataFile |
  incompatible.compression |
  incompatible.extendedL2;

/** Refuses incompatible features that nobody here understands, by the names the image gives them. */
function refuseUnknownFeatures(
  fields: HeaderFields,
  extensions: readonly Extension[],
  file: string,
): void {
  const unknown = fields.incompatible_features & ~understood;
  if (unknown === 0n) return;
  const table = extensions.find(({ type }) => type === ExtensionType.featureNames);
  const names = table === undefined ? [] : decodeFeatureNames(table.data);
  const named: string[] = [];
  let nameless = unknown;
  for (const { kind, bit, name } of names) {
    const mask = 1n << BigInt(bit & 63);
    if (kind === FeatureKind.incompatible && (nameless & mask) !== 0n) {
      named.push(name);
      nameless &= ~mask;
    }
  }
  if (nameless !== 0n) named.push(`Unknown incompatible feature: ${nameless.toString(16)}`);
  const unfinished = (unknown & incompatible.unfinished) !== 0n && named.includes(unfinishedName);
  throw invalid(
    file,
    unfinished ? "E_UNFINISHED" : "E_UNSUPPORTED_FEATURE",
    `Unsupported qcow2 feature(s): ${named.join(", ")}`,
    {
      field: "incompatible_features",
      value: unknown,
      ...(unfinished && { advice: "its writer was interrupted; make the image again" }),
    },
  );
}

/** A subcluster has at least a sector. */
function refuseSmallSubclusters(fields: HeaderFields, file: string): void {
  if ((fields.incompatible_features & incompatible.extendedL2) === 0n) return;
  const size = 2 ** fields.cluster_bits / subclustersPerCluster;
  if (size >= 512) return;
  throw invalid(file, "E_UNSUPPORTED_FEATURE", `Unsupported subcluster size: ${size}`, {
    field: "cluster_bits",
    value: fields.cluster_bits,
  });
}

function validateCompression(fields: HeaderFields, file: string): void {
  const flagged = (fields.incompatible_features & incompatible.compression) !== 0n;
  const details = { field: "compression_type", value: fields.compression_type };
  if (fields.compression_type >= compressionTypes.length) {
    const text = `Unknown compression type: ${fields.compression_type}`;
    throw invalid(file, "E_UNSUPPORTED_FEATURE", text, details);
  }
  if (flagged && fields.compression_type === 0) {
    const text = "Compression type incompatible feature bit must not be set";
    throw invalid(file, "E_CORRUPT", text, details);
  }
  if (!flagged && fields.compression_type !== 0) {
    const text = "Compression type incompatible feature bit must be set";
    throw invalid(file, "E_CORRUPT", text, details);
  }
}

function backingName(
  bytes: Uint8Array,
  fields: HeaderFields,
  clusterSize: number,
  file: string,
): string | undefined {
  const at = Number(fields.backing_file_offset);
  const length = fields.backing_file_size;
  if (length > Math.min(maxBackingName, clusterSize - at)) {
    throw invalid(file, "E_CORRUPT", "Backing file name too long", {
      field: "backing_file_size",
      value: length,
    });
  }
  if (at + length > bytes.length) {
    throw new PlatterError(
      "E_TRUNCATED",
      `${file}: the file ends at ${bytes.length}, inside the backing file name (${at} to ${at + length})`,
      { file, field: "backing_file_size", value: length },
    );
  }
  const name = nameText(bytes.subarray(at, at + length));
  return name === "" ? undefined : name;
}

/** The format that a header states for its backing file; an empty one is none. */
export function backingFormat({ extensions }: Header): string | undefined {
  const found = extensions.find(({ type }) => type === ExtensionType.backingFormat);
  const name = found === undefined ? "" : nameText(found.data);
  return name === "" ? undefined : name;
}

/**
 * The first cluster of an image, in QEMU's layout: header, extensions in their fixed order, feature
 * name table (version 3, clusters of more than 4 KiB), backing file name. The fields that say where
 * things are inside the cluster are filled in here.
 *
 * Throws `E_NO_SPACE` when it does not fit into one cluster, `E_INVALID_ARGUMENT` when the name is
 * longer than the format allows.
 */
export function encodeHeader(header: Header, file: string): Uint8Array {
  const clusterSize = 2 ** header.fields.cluster_bits;
  const fields = { ...header.fields };
  const version3 = fields.version >= 3;
  fields.header_length = version3 ? version3Length + header.additional.length : version2Length;
  const unfinished = (fields.incompatible_features & incompatible.unfinished) !== 0n;
  const names = unfinished
    ? [...knownFeatures, { kind: FeatureKind.incompatible, bit: 62, name: unfinishedName }]
    : knownFeatures;
  const named: Extension[] =
    version3 && clusterSize > featureTableThreshold
      ? [{ type: ExtensionType.featureNames, data: encodeFeatureNames(names) }]
      : unfinished
        ? [{ type: ExtensionType.featureNames, data: encodeFeatureNames(names.slice(-1)) }]
        : [];
  const extensions = encodeExtensions([...header.extensions, ...named]);
  const name = new TextEncoder().encode(header.backingName ?? "");
  const nameAt = fields.header_length + extensions.length;
  const format = backingFormat(header);
  const assignment =
    `Could not assign backing file '${header.backingName}'` +
    (format === undefined ? "" : ` with format '${format}'`);
  if (name.length > maxBackingName) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${file}: the backing file name has ${name.length} bytes; qcow2 allows ${maxBackingName}`,
      {
        file,
        field: "backing_file_size",
        value: name.length,
        qemu: `${assignment}: Invalid argument`,
      },
    );
  }
  if (nameAt + name.length > clusterSize) {
    throw new PlatterError(
      "E_NO_SPACE",
      `${file}: header, extensions and backing file name take ${nameAt + name.length} bytes and do ` +
        `not fit into one cluster of ${clusterSize}; use larger clusters or a shorter name`,
      {
        file,
        field: "backing_file_size",
        value: name.length,
        qemu: `${assignment}: No space left on device`,
      },
    );
  }
  fields.backing_file_offset = header.backingName === undefined ? 0n : BigInt(nameAt);
  fields.backing_file_size = name.length;
  const bytes = new Uint8Array(clusterSize);
  // Version 2 ends before the feature masks, where its extensions begin.
  headerStructure.write(fields, bytes.subarray(0, fields.header_length));
  bytes.set(header.additional, version3 ? version3Length : version2Length);
  bytes.set(extensions, fields.header_length);
  bytes.set(name, nameAt);
  return bytes;
}
