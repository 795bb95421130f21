import { Structure } from "../../bytes/index.ts";
import { ExtensionType, type Extension } from "./extensions.ts";
import { autoclear } from "./features.ts";
import type { Header } from "./header.ts";
import { invalid } from "./invalid.ts";

/** QEMU's limit for the number of bitmaps. */
export const maxBitmaps = 65535;
/** QEMU's limit for the bitmap directory in bytes. */
export const maxBitmapDirectory = 1024 * maxBitmaps;

/** The bitmaps extension (specification, "Bitmaps extension"). */
export const bitmapExtensionStructure = new Structure("Bitmaps extension", {
  nb_bitmaps: { at: 0, type: "u32", means: "number of bitmaps" },
  reserved: { at: 4, type: "u32", means: "must be zero" },
  bitmap_directory_size: { at: 8, type: "u64", means: "size of the bitmap directory in bytes" },
  bitmap_directory_offset: { at: 16, type: "u64", means: "where the bitmap directory starts" },
});

/** Where an image's bitmap directory is. */
export interface BitmapExtension {
  readonly count: number;
  /** Bytes. */
  readonly size: number;
  readonly offset: number;
}

/** The bytes of a bitmaps extension as part of the header. */
export function encodeBitmapExtension({ count, size, offset }: BitmapExtension): Extension {
  const data = new Uint8Array(bitmapExtensionStructure.size);
  bitmapExtensionStructure.write(
    {
      nb_bitmaps: count,
      reserved: 0,
      bitmap_directory_size: BigInt(size),
      bitmap_directory_offset: BigInt(offset),
    },
    data,
  );
  return { type: ExtensionType.bitmaps, data };
}

/** What a header says of bitmaps. */
export interface BitmapState {
  /** The bitmap directory, if there is one that counts. */
  readonly extension: BitmapExtension | undefined;
  /**
   * There is an extension that does not count, because a program that did not know of it changed the
   * image since. Says so in QEMU's words.
   */
  readonly outdated: string | undefined;
}

/** Finds the bitmaps extension of a header and checks it. Throws `E_CORRUPT` or `E_LIMIT`. */
export function bitmapState({ fields, extensions }: Header, file: string): BitmapState {
  let extension: BitmapExtension | undefined;
  let outdated: string | undefined;
  for (const { type, data } of extensions) {
    if (type !== ExtensionType.bitmaps) continue;
    const refuse = (text: string, field: string, value: number | bigint) =>
      invalid(file, "E_CORRUPT", text, { field, value });
    if (data.length !== bitmapExtensionStructure.size) {
      const text = "bitmaps_ext: Invalid extension length";
      throw refuse(text, "header extension 0x23852875", data.length);
    }
    if ((fields.autoclear_features & autoclear.bitmaps) === 0n) {
      outdated = outdatedText(fields.version);
      continue;
    }
    const found = bitmapExtensionStructure.read(data);
    if (found.reserved !== 0) {
      throw refuse("bitmaps_ext: Reserved field is not zero", "reserved", found.reserved);
    }
    if (found.nb_bitmaps > maxBitmaps) {
      const text =
        `bitmaps_ext: Image has ${found.nb_bitmaps} bitmaps, exceeding the QEMU supported maximum ` +
        `of ${maxBitmaps}`;
      throw invalid(file, "E_LIMIT", text, { field: "nb_bitmaps", value: found.nb_bitmaps });
    }
    if (found.nb_bitmaps === 0) {
      throw refuse("found bitmaps extension with zero bitmaps", "nb_bitmaps", 0);
    }
    const { bitmap_directory_size: size, bitmap_directory_offset: offset } = found;
    const mask = BigInt(2 ** fields.cluster_bits - 1);
    if ((offset & mask) !== 0n || offset > BigInt(Number.MAX_SAFE_INTEGER)) {
      const text = "bitmaps_ext: invalid bitmap directory offset";
      throw refuse(text, "bitmap_directory_offset", offset);
    }
    if (size > BigInt(maxBitmapDirectory)) {
      const text =
        `bitmaps_ext: bitmap directory size (${size}) exceeds the maximum supported size ` +
        `(${maxBitmapDirectory})`;
      throw invalid(file, "E_LIMIT", text, { field: "bitmap_directory_size", value: size });
    }
    extension = { count: found.nb_bitmaps, size: Number(size), offset: Number(offset) };
  }
  return { extension, outdated };
}

function outdatedText(version: number): string {
  const what =
    version < 3
      ? "This qcow2 v2 image contains bitmaps, but they may have been modified by a program " +
        "without persistent bitmap support; so now they must all be considered inconsistent"
      : "a program lacking bitmap support modified this file, so all bitmaps are now considered " +
        "inconsistent";
  return `${what}\nSome clusters may be leaked, run 'qemu-img check -r' on the image file to fix.`;
}
