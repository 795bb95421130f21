import type { Preallocation } from "../../disk/index.ts";
import type { CompressionType } from "../../codec/index.ts";
import { PlatterError } from "../../errors.ts";
import type { FormatCreateOptions, FormatOption, FormatOptionValues } from "../format.ts";
import { fileOptions } from "../file-options.ts";
import { luksOptions } from "../luks-options.ts";
import { subclustersPerCluster } from "./geometry.ts";
import { compressionTypes } from "./header.ts";

/** The creation options of qcow2 in the order in which QEMU prints them. */
export const createOptions: readonly FormatOption[] = [
  { name: "cluster_size", type: "size", help: "qcow2 cluster size", default: 65536 },
  { name: "extended_l2", type: "boolean", help: "Extended L2 tables", default: false },
  {
    name: "preallocation",
    type: "string",
    help: "Preallocation mode (allowed values: off, metadata, falloc, full)",
  },
  {
    name: "compression_type",
    type: "string",
    help: "Compression method used for image cluster compression",
    default: "zlib",
  },
  {
    name: "encryption",
    type: "boolean",
    help: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
  },
  {
    name: "encrypt.format",
    type: "string",
    help: "Encrypt the image, format choices: 'aes', 'luks'",
  },
  ...luksOptions("encrypt."),
  { name: "compat", type: "string", help: "Compatibility level (v2 [0.10] or v3 [1.1])" },
  { name: "data_file", type: "string", help: "File name of an external data file" },
  {
    name: "data_file_raw",
    type: "boolean",
    help: "The external data file must stay valid as a raw image",
  },
  {
    name: "keep_data_file",
    type: "boolean",
    help: "The external data file exists already and keeps its contents",
    newer: true,
  },
  { name: "lazy_refcounts", type: "boolean", help: "Postpone refcount updates", default: false },
  {
    name: "refcount_bits",
    type: "number",
    help: "Width of a reference count entry in bits",
    default: 16,
  },
  ...fileOptions,
];

/** A subcluster is at least a sector. */
const minExtendedCluster = 512 * subclustersPerCluster;

/** What a new qcow2 image shall be, checked. */
export interface Qcow2CreateOptions {
  readonly size: number;
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly refcountOrder: number;
  readonly compression: CompressionType;
  readonly lazyRefcounts: boolean;
  readonly extendedL2: boolean;
  readonly preallocation: Preallocation;
  /** Name of the external data file. */
  readonly dataFile: string | undefined;
  readonly dataFileRaw: boolean;
  /** How the guest's data is encrypted. */
  readonly encryptionFormat: "aes" | "luks" | undefined;
}

/** The file for guest data that the options ask for; see {@link Format.newDataFile}. */
export function newDataFile(
  values: FormatOptionValues,
): { readonly name: string; readonly keep: boolean } | undefined {
  const name = values["data_file"];
  return typeof name === "string" ? { name, keep: values["keep_data_file"] === true } : undefined;
}

/**
 * Checks creation options as QEMU does, in its order. Throws `E_INVALID_ARGUMENT` naming the option,
 * or `E_UNSUPPORTED`.
 */
export function checkCreateOptions(
  { size, backing, values = {} }: FormatCreateOptions,
  file: string,
): Qcow2CreateOptions {
  const refuse = (field: string, text: string) => {
    const value = values[field];
    return new PlatterError("E_INVALID_ARGUMENT", `${file}: ${field}=${String(value)}: ${text}`, {
      file,
      field,
      value: typeof value === "boolean" ? String(value) : value,
      qemu: text,
    });
  };
  for (const name of Object.keys(values)) {
    if (!createOptions.some((option) => option.name === name)) {
      throw refuse(name, `Invalid parameter '${name}'`);
    }
  }
  const encryptionFormat = readEncryptionFormat(values, refuse);

  const clusterSize = Number(values["cluster_size"] ?? 65536);
  const clusterBits = Math.log2(clusterSize);
  const compat = oneOf(values["compat"] ?? "v3", ["v2", "v3", "0.10", "1.1"] as const, () =>
    refuse("compat", notAccepted("version", values["compat"])),
  );
  const version = compat === "v2" || compat === "0.10" ? 2 : 3;
  const preallocation = oneOf(
    values["preallocation"] ?? "off",
    ["off", "metadata", "falloc", "full"] as const,
    () => refuse("preallocation", notAccepted("preallocation", values["preallocation"])),
  );
  const compression = oneOf(values["compression_type"] ?? "zlib", compressionTypes, () =>
    refuse("compression_type", notAccepted("compression-type", values["compression_type"])),
  );
  const extendedL2 = values["extended_l2"] === true;
  const newer = "compatibility level 1.1 and above (use version=v3 or greater)";
  if (extendedL2 && version < 3) {
    throw refuse("extended_l2", `Extended L2 entries are only supported with ${newer}`);
  }
  if (!Number.isInteger(clusterBits) || clusterBits < 9 || clusterBits > 21) {
    throw refuse("cluster_size", "Cluster size must be a power of two between 512 and 2048k");
  }
  if (extendedL2 && clusterSize < minExtendedCluster) {
    throw refuse(
      "extended_l2",
      `Extended L2 entries are only supported with cluster sizes of at least ${minExtendedCluster} bytes`,
    );
  }
  if (preallocation !== "off" && backing !== undefined && !extendedL2) {
    throw refuse(
      "preallocation",
      "Backing file and preallocation can only be used at the same time if extended_l2 is on",
    );
  }
  const lazyRefcounts = values["lazy_refcounts"] === true;
  if (version < 3 && lazyRefcounts) {
    throw refuse("lazy_refcounts", `Lazy refcounts only supported with ${newer}`);
  }
  const refcountOrder = readRefcountOrder(values, version, "version=v3", refuse);
  const dataFile = newDataFile(values)?.name;
  const dataFileRaw = values["data_file_raw"] === true;
  if (dataFileRaw && dataFile === undefined) {
    throw refuse("data_file_raw", "data-file-raw requires data-file");
  }
  if (values["keep_data_file"] === true && (!dataFileRaw || extendedL2)) {
    // In other images nothing says that what is in the file is the guest's.
    throw refuse("keep_data_file", "keep_data_file requires data_file_raw, and no extended_l2");
  }
  if (dataFileRaw && backing !== undefined) {
    throw refuse("data_file_raw", "Backing file and data-file-raw cannot be used at the same time");
  }
  if (version < 3 && dataFile !== undefined) {
    throw refuse("data_file", `External data files are only supported with ${newer}`);
  }
  if (version < 3 && compression !== "zlib") {
    throw refuse("compression_type", `Non-zlib compression type is only supported with ${newer}`);
  }
  return {
    size,
    version,
    clusterBits,
    refcountOrder,
    compression,
    lazyRefcounts,
    extendedL2,
    preallocation,
    dataFile,
    dataFileRaw,
    encryptionFormat,
  };
}

/** Which encryption the options ask for; the old one has a switch of its own. */
function readEncryptionFormat(
  values: FormatOptionValues,
  refuse: (field: string, text: string) => Error,
): "aes" | "luks" | undefined {
  const format = values["encrypt.format"];
  if (values["encryption"] === true && format !== undefined) {
    throw refuse(
      "encryption",
      "'encrypt.format' and its alias 'encryption' can't be used at the same time",
    );
  }
  if (values["encryption"] === true) return "aes";
  if (format === "aes" || format === "luks") return format;
  if (format !== undefined) throw refuse("encrypt.format", notAccepted("format", format));
  const other = Object.keys(values).find((name) => name.startsWith("encrypt."));
  if (other !== undefined) throw refuse(other, "Parameter 'encrypt.format' is missing");
  return undefined;
}

const notAccepted = (name: string, value: unknown): string =>
  `Parameter '${name}' does not accept value '${String(value)}'`;

function oneOf<T extends string>(
  value: string | number | boolean,
  allowed: readonly T[],
  otherwise: () => Error,
): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw otherwise();
  return found;
}

/**
 * log2 of the refcount width that `refcount_bits` asks for. `refuse` makes the error; `newer` is how
 * its words call a version that can have it.
 */
export function readRefcountOrder(
  values: FormatOptionValues,
  version: number,
  newer: string,
  refuse: (name: string, qemu: string) => Error,
): number {
  const order = Math.log2(Number(values["refcount_bits"] ?? 16));
  if (!Number.isInteger(order) || order < 0 || order > 6) {
    throw refuse(
      "refcount_bits",
      "Refcount width must be a power of two and may not exceed 64 bits",
    );
  }
  if (version < 3 && order !== 4) {
    throw refuse(
      "refcount_bits",
      "Different refcount widths than 16 bits require compatibility level 1.1 or above " +
        `(use ${newer} or greater)`,
    );
  }
  return order;
}
