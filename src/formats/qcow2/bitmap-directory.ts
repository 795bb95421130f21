import { Structure, alignUp, host, type HostOffset } from "../../bytes/index.ts";
import type { Storage } from "../../storage/index.ts";
import type { BitmapExtension } from "./bitmap-extension.ts";
import { entrySize } from "./geometry.ts";
import { invalid } from "./invalid.ts";

/** QEMU's limit for the entries of a bitmap table. */
const maxTableEntries = 0x800_0000;
/** QEMU's limit for the bits of one bitmap, in bytes. */
export const maxBitmapBytes = 0x2000_0000;
/** Granularities are 2^9 to 2^31 bytes. */
export const granularityBits = { least: 9, most: 31 } as const;
/** Longest name in bytes. */
export const maxNameBytes = 1023;
/** The only type of bitmap there is: dirty tracking. */
const dirtyTracking = 1;

/** Flags of a directory entry. */
export const BitmapFlag = { inUse: 1, auto: 2, extraDataCompatible: 4 } as const;

/** An entry of the bitmap directory (specification, "Bitmap directory"). */
export const directoryStructure = new Structure("Bitmap directory entry", {
  bitmap_table_offset: { at: 0, type: "u64", means: "where the bitmap table starts" },
  bitmap_table_size: { at: 8, type: "u32", means: "entries of the bitmap table" },
  flags: { at: 12, type: "u32", means: "bit 0 in_use, 1 auto, 2 extra_data_compatible" },
  type: { at: 16, type: "u8", means: "1: dirty tracking bitmap" },
  granularity_bits: { at: 17, type: "u8", means: "log2 of the granularity in bytes" },
  name_size: { at: 18, type: "u16", means: "length of the name in bytes" },
  extra_data_size: { at: 20, type: "u32", means: "length of the extra data in bytes" },
});

/** A bitmap as the directory describes it. */
export interface DirectoryEntry {
  /** As in the file, which need not be UTF-8. */
  readonly name: Uint8Array;
  readonly granularityBits: number;
  /** A combination of {@link BitmapFlag}. */
  readonly flags: number;
  readonly tableOffset: HostOffset;
  /** Entries of the bitmap table. */
  readonly tableEntries: number;
}

/** Bytes that the entry of a bitmap whose name has `nameLength` bytes takes in the directory. */
export const directoryEntrySize = (nameLength: number): number =>
  alignUp(directoryStructure.size + nameLength, 8);

/** What the directory's numbers are checked against. */
export interface DirectoryLimits {
  readonly clusterSize: number;
  /** Bytes of the guest's disk. */
  readonly diskSize: number;
}

/**
 * Reads and checks the bitmap directory. Throws `E_CORRUPT`, `E_TRUNCATED`, or
 * `E_UNSUPPORTED_FEATURE` for extra data, of which QEMU knows none either.
 */
export async function readBitmapDirectory(
  storage: Storage,
  { offset, size, count }: BitmapExtension,
  limits: DirectoryLimits,
): Promise<DirectoryEntry[]> {
  const { name: file } = storage;
  const broken = (text: string, at?: number, field = "bitmap directory", value?: number) =>
    invalid(file, "E_CORRUPT", text, {
      field,
      ...(at !== undefined && { offset: offset + at }),
      ...(value !== undefined && { value }),
    });
  if (size === 0) throw broken("Requested bitmap directory size is zero");
  // The end of its last cluster need not be there.
  if (offset + size > alignUp(storage.size, limits.clusterSize)) {
    throw invalid(file, "E_TRUNCATED", "Failed to read bitmap directory", {
      field: "bitmap directory",
      offset,
      value: size,
      advice: "the file has been cut short",
    });
  }
  const bytes = new Uint8Array(size);
  await storage.read(offset, bytes);
  const entries: DirectoryEntry[] = [];
  let at = 0;
  while (at < size) {
    if (at + directoryStructure.size > size) throw broken("Broken bitmap directory", at);
    if (entries.length === count) {
      throw broken(
        "More bitmaps found than specified in header extension",
        at,
        "nb_bitmaps",
        count,
      );
    }
    const fields = directoryStructure.read(bytes, at);
    const { name_size, extra_data_size } = fields;
    const next = at + alignUp(directoryStructure.size + name_size + extra_data_size, 8);
    if (next > size) throw broken("Broken bitmap directory", at);
    if (extra_data_size !== 0) {
      throw invalid(file, "E_UNSUPPORTED_FEATURE", "Bitmap extra data is not supported", {
        field: "extra_data_size",
        offset: offset + at,
        value: extra_data_size,
      });
    }
    const name = bytes.slice(
      at + directoryStructure.size,
      at + directoryStructure.size + name_size,
    );
    const zero = name.indexOf(0);
    const entry: DirectoryEntry = {
      name: zero < 0 ? name : name.subarray(0, zero),
      granularityBits: fields.granularity_bits,
      flags: fields.flags,
      tableOffset: host(Number(fields.bitmap_table_offset)),
      tableEntries: fields.bitmap_table_size,
    };
    const wrong = wrongField(entry, fields.type, name_size, limits);
    if (wrong !== undefined) {
      const text = `Bitmap '${new TextDecoder().decode(entry.name)}' doesn't satisfy the constraints`;
      throw broken(text, at, ...wrong);
    }
    entries.push(entry);
    at = next;
  }
  if (entries.length !== count) {
    throw broken("Less bitmaps found than specified in header extension", at, "nb_bitmaps", count);
  }
  return entries;
}

/** The first field of an entry that breaks a rule, and its value. */
function wrongField(
  { granularityBits: bits, flags, tableOffset, tableEntries }: DirectoryEntry,
  type: number,
  nameLength: number,
  { clusterSize, diskSize }: DirectoryLimits,
): [field: string, value: number] | undefined {
  const bytes = tableEntries * clusterSize;
  if (
    tableEntries === 0 ||
    tableEntries > maxTableEntries ||
    bytes > maxBitmapBytes ||
    // One that is in use may have been left over from before a resize.
    ((flags & BitmapFlag.inUse) === 0 && diskSize > bytes * 8 * 2 ** bits)
  ) {
    return ["bitmap_table_size", tableEntries];
  }
  if (
    tableOffset === 0 ||
    tableOffset % clusterSize !== 0 ||
    tableOffset > Number.MAX_SAFE_INTEGER
  ) {
    return ["bitmap_table_offset", tableOffset];
  }
  if (bits < granularityBits.least || bits > granularityBits.most)
    return ["granularity_bits", bits];
  // Extra data, which bit 2 is about, is refused anyway; QEMU refuses the bit itself.
  if ((flags & ~(BitmapFlag.inUse | BitmapFlag.auto)) !== 0) return ["flags", flags];
  if (nameLength > maxNameBytes) return ["name_size", nameLength];
  return type === dirtyTracking ? undefined : ["type", type];
}

/** The bytes of a bitmap directory. */
export function encodeBitmapDirectory(entries: readonly DirectoryEntry[]): Uint8Array {
  const size = entries.reduce((sum, { name }) => sum + directoryEntrySize(name.length), 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const { name, granularityBits: bits, flags, tableOffset, tableEntries } of entries) {
    directoryStructure.write(
      {
        bitmap_table_offset: BigInt(tableOffset),
        bitmap_table_size: tableEntries,
        flags,
        type: dirtyTracking,
        granularity_bits: bits,
        name_size: name.length,
        extra_data_size: 0,
      },
      bytes,
      at,
    );
    bytes.set(name, at + directoryStructure.size);
    at += directoryEntrySize(name.length);
  }
  return bytes;
}

/** Bytes of the bitmap table of an entry. */
export const tableBytes = ({ tableEntries }: DirectoryEntry): number => tableEntries * entrySize;
