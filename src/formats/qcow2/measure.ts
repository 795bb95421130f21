import { alignUp, divideUp } from "../../bytes/index.ts";
import type { BitmapInfo } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import type { FormatOptionValues } from "../format.ts";
import type { Measurement, MeasureOptions, StoredRange } from "../measure.ts";
import { entrySize, maxL1Bytes } from "./geometry.ts";
import { readRefcountOrder } from "./options.ts";

/** What of the creation options decides about the size of the file. */
interface Shape {
  readonly clusterSize: number;
  readonly extendedL2: boolean;
  readonly version: 2 | 3;
  readonly refcountBits: number;
  /** All of the disk is reserved at once. */
  readonly allocated: boolean;
  /** Bytes in front of the data that encryption takes. */
  readonly encryption: number;
}

/**
 * The size of a new qcow2 file, as QEMU counts: header, all L1 and L2 tables, refcounts for
 * everything, and those clusters that will hold data.
 *
 * @throws `E_INVALID_ARGUMENT` for options that do not go together, `E_LIMIT` for a disk that needs
 *   too large an L1 table
 */
export async function measure(options: MeasureOptions): Promise<Measurement> {
  const shape = readShape(options.values ?? {});
  const { clusterSize, extendedL2, encryption } = shape;
  const size = alignUp(options.size, clusterSize);
  const l2EntrySize = extendedL2 ? 2 * entrySize : entrySize;
  const l2Tables = divideUp(size / clusterSize, clusterSize / l2EntrySize);
  if (l2Tables * entrySize > maxL1Bytes) {
    throw new PlatterError(
      "E_LIMIT",
      `A disk of ${options.size} bytes is too large for clusters of ${clusterSize} bytes; try a larger cluster_size.`,
      {
        field: "size",
        value: options.size,
        qemu: "The image size is too large (try using a larger cluster size)",
      },
    );
  }
  const metadata = metadataBytes(size, shape, l2EntrySize) + encryption;
  const stored = await storedBytes(options, size, shape);
  const { bitmapBytes } = options;
  return {
    required: metadata + stored,
    fullyAllocated: metadata + size,
    ...(bitmapBytes !== undefined &&
      shape.version === 3 && { bitmaps: await bitmapBytes(clusterSize) }),
  };
}

/** Bytes of guest data that the new file will hold at first. */
async function storedBytes(
  { data, hasBacking = false }: MeasureOptions,
  size: number,
  { allocated, clusterSize }: Shape,
): Promise<number> {
  // Nobody knows what the source shares with the backing file: nothing, at worst.
  if (allocated || (hasBacking && data !== undefined)) return size;
  return data === undefined ? 0 : clustersOf(data, clusterSize);
}

/** Bytes of the clusters that the ranges touch, each counted once. */
async function clustersOf(
  ranges: AsyncIterable<StoredRange>,
  clusterSize: number,
): Promise<number> {
  let bytes = 0;
  let counted = 0;
  for await (const { start, end } of ranges) {
    const from = Math.max(counted, start - (start % clusterSize));
    const to = alignUp(end, clusterSize);
    if (to > from) bytes += to - from;
    counted = Math.max(counted, to);
  }
  return bytes;
}

/** Header, tables and refcounts of an image whose clusters are all in use. */
function metadataBytes(
  size: number,
  { clusterSize, refcountBits }: Shape,
  l2EntrySize: number,
): number {
  const l2Bytes = alignUp((size / clusterSize) * l2EntrySize, clusterSize);
  const l1Bytes = alignUp((l2Bytes / clusterSize) * entrySize, clusterSize);
  const tables = clusterSize + l2Bytes + l1Bytes;
  return tables + refcountBytes((tables + size) / clusterSize, clusterSize, refcountBits);
}

/** Refcount table and blocks for so many clusters and for themselves. */
function refcountBytes(clusters: number, clusterSize: number, refcountBits: number): number {
  const perBlock = (clusterSize * 8) / refcountBits;
  let blocks = 0;
  let table = 0;
  for (let last = -1; last !== blocks + table;) {
    last = blocks + table;
    blocks = divideUp(clusters + table + blocks, perBlock);
    table = divideUp(blocks, clusterSize / entrySize);
  }
  return (blocks + table) * clusterSize;
}

function readShape(values: FormatOptionValues): Shape {
  const refuse = (field: string, qemu: string): PlatterError =>
    new PlatterError("E_INVALID_ARGUMENT", `${field}=${String(values[field])}: ${qemu}`, {
      field,
      value: String(values[field]),
      qemu,
    });
  const clusterSize = Number(values["cluster_size"] ?? 65536);
  const extendedL2 = values["extended_l2"] === true;
  const clusterBits = Math.log2(clusterSize);
  if (!Number.isInteger(clusterBits) || clusterBits < 9 || clusterBits > 21) {
    throw refuse("cluster_size", "Cluster size must be a power of two between 512 and 2048k");
  }
  if (extendedL2 && clusterSize < 16384) {
    throw refuse(
      "extended_l2",
      "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
    );
  }
  const mode = String(values["preallocation"] ?? "off");
  if (!["off", "metadata", "falloc", "full"].includes(mode)) {
    throw refuse("preallocation", `invalid parameter value: ${mode}`);
  }
  const compat = String(values["compat"] ?? "1.1");
  // QEMU's create knows v2 and v3 too, its measure does not.
  if (compat !== "0.10" && compat !== "1.1") {
    throw refuse("compat", `Invalid compatibility level: '${compat}'`);
  }
  const version = compat === "0.10" ? 2 : 3;
  const refcountBits = 2 ** readRefcountOrder(values, version, "compat=1.1", refuse);
  return {
    clusterSize,
    extendedL2,
    version,
    refcountBits,
    allocated: mode === "falloc" || mode === "full",
    encryption: luksBytes(values, clusterSize),
  };
}

/** Key slots of a LUKS header (version 1). */
const luksSlots = 8;
/** Copies of the key that the anti-forensic splitter makes of it in each slot. */
const luksStripes = 4000;
/** Header and key slots lie at multiples of this. */
const luksAlignment = 4096;

/** Bytes that the LUKS header takes in front of the data: its clusters, whole. */
function luksBytes(values: FormatOptionValues, clusterSize: number): number {
  if (values["encrypt.format"] !== "luks") return 0;
  if (values["encrypt.key-secret"] === undefined) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      "encrypt.format=luks needs encrypt.key-secret, the id of a secret given with --object.",
      {
        field: "encrypt.key-secret",
        qemu: "Parameter 'encrypt.key-secret' is required for cipher",
      },
    );
  }
  const cipher = String(values["encrypt.cipher-alg"] ?? "aes-256");
  const bits = Number(/-(\d+)$/.exec(cipher)?.[1] ?? 128);
  const mode = values["encrypt.cipher-mode"] ?? "xts";
  const keyBytes = (bits / 8) * (mode === "xts" ? 2 : 1);
  const slot = alignUp(keyBytes * luksStripes, luksAlignment);
  return alignUp(luksAlignment + luksSlots * slot, clusterSize);
}

/** Bytes of a bitmap directory entry before the name (specification, "Bitmap directory"). */
const directoryEntry = 24;

/**
 * Bytes that copies of these bitmaps of a disk of `size` bytes take at most: their data, a table
 * each, and the directory. Inconsistent ones are never copied.
 */
export function sizeOfBitmaps(
  bitmaps: readonly BitmapInfo[],
  size: number,
  clusterSize: number,
): number {
  let total = 0;
  let directory = 0;
  for (const { name, granularity, inconsistent } of bitmaps) {
    if (inconsistent) continue;
    const clusters = divideUp(divideUp(divideUp(size, granularity), 8), clusterSize);
    total += clusters * clusterSize + alignUp(clusters * entrySize, clusterSize);
    directory += alignUp(directoryEntry + new TextEncoder().encode(name).length, 8);
  }
  return total + alignUp(directory, clusterSize);
}
