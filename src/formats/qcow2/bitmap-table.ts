import { host, type HostOffset } from "../../bytes/index.ts";
import type { Storage } from "../../storage/index.ts";
import type { DirectoryEntry } from "./bitmap-directory.ts";
import { tableBytes } from "./bitmap-directory.ts";
import { entrySize } from "./geometry.ts";
import { invalid } from "./invalid.ts";
import { readFully } from "./read.ts";

/** What a bitmap table entry says of a cluster of bits. */
export const BitmapCluster = {
  /** All bits are 0. */
  zeros: 0,
  /** All bits are 1. */
  ones: 1,
} as const;

/**
 * A bitmap table in memory (specification, "Bitmap table"): for each cluster of bits the offset where
 * it is stored, or one of {@link BitmapCluster}; -1 for entries that break a rule.
 */
export type BitmapTable = Float64Array;

/** Entries that break a rule. */
export const invalidEntry = -1;

/**
 * Reads the bitmap table of `entry`. Invalid entries become {@link invalidEntry}. Throws
 * `E_TRUNCATED` when the file ends inside it.
 */
export async function readBitmapTable(
  storage: Storage,
  entry: DirectoryEntry,
  clusterSize: number,
): Promise<BitmapTable> {
  const { tableOffset, tableEntries } = entry;
  if (tableOffset + tableBytes(entry) > storage.size) {
    const name = new TextDecoder().decode(entry.name);
    const text =
      `Could not read bitmap_table table from image for bitmap '${name}': ` +
      `the table ends after the end of the file`;
    throw invalid(storage.name, "E_TRUNCATED", text, {
      field: "bitmap table",
      offset: tableOffset,
    });
  }
  const bytes = new Uint8Array(tableBytes(entry));
  await readFully(storage, tableOffset, bytes, "bitmap table");
  const view = new DataView(bytes.buffer);
  const table = new Float64Array(tableEntries);
  for (let i = 0; i < tableEntries; i++) {
    const upper = view.getUint32(i * entrySize);
    const lower = view.getUint32(i * entrySize + 4);
    table[i] = decodeEntry(upper, lower, clusterSize);
  }
  return table;
}

function decodeEntry(upper: number, lower: number, clusterSize: number): number {
  // Bits 1 to 8 and 56 to 63 are reserved.
  if ((upper & 0xff00_0000) !== 0 || (lower & 0x1fe) !== 0) return invalidEntry;
  const offset = upper * 2 ** 32 + ((lower & 0xffff_fe00) >>> 0);
  const ones = (lower & 1) !== 0;
  if (offset === 0) return ones ? BitmapCluster.ones : BitmapCluster.zeros;
  if (ones || offset % clusterSize !== 0 || offset > Number.MAX_SAFE_INTEGER) return invalidEntry;
  return offset;
}

/** The bytes of a bitmap table without invalid entries. */
export function encodeBitmapTable(table: BitmapTable): Uint8Array {
  const bytes = new Uint8Array(table.length * entrySize);
  const view = new DataView(bytes.buffer);
  table.forEach((entry, i) => view.setBigUint64(i * entrySize, BigInt(entry)));
  return bytes;
}

/** The offsets of the stored clusters of bits. */
export function storedClusters(table: BitmapTable): HostOffset[] {
  return [...table].filter((entry) => entry > BitmapCluster.ones).map(host);
}
