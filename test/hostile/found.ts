/**
 * Images that fuzzing found: each a base of the fuzzer's corpus and what is changed in it, with what went
 * wrong at the time.
 */
import type { Mutation } from "../fuzz/mutations.ts";

/** A case that was once a finding. */
export interface FoundImage {
  readonly name: string;
  /** The field that it is about. */
  readonly field: string;
  /** What happened. */
  readonly was: string;
  /** A base of the fuzzer's corpus. */
  readonly base: string;
  readonly mutations: readonly Mutation[];
}

const set = (
  table: string,
  field: string,
  at: number,
  width: 1 | 2 | 4 | 8,
  value: string,
): Mutation => ({ kind: "set", table, field, at, width, value });

/** All of them, in the order in which they were found. */
export const foundImages: readonly FoundImage[] = [
  {
    name: "l1-entry-of-flags-only",
    field: "L1 entry",
    was: "check took an entry without an offset for empty, whatever its other bits said",
    base: "compressed, with a snapshot and a bitmap, by Platter",
    mutations: [set("L1", "entry", 6144, 8, "20")],
  },
  {
    name: "size-of-no-whole-sectors",
    field: "size",
    was: "the disk was longer than with QEMU, which cuts it to whole sectors",
    base: "4 KiB clusters",
    mutations: [set("header", "size", 24, 8, "4")],
  },
  {
    name: "no-refcount-blocks",
    field: "refcount table entry",
    was: "amend -o refcount_bits ended in a TypeError",
    base: "compressed with zstd",
    mutations: [set("refcount table", "entry", 4096, 8, "0")],
  },
  {
    name: "data-where-no-file-reaches",
    field: "L2 entry",
    was: "reading at more than 2^53 was an error of the runtime about its argument",
    base: "version 2",
    mutations: [set("L2", "entry", 8960, 8, "3cb0fed09646252e")],
  },
  {
    name: "zeros-where-no-file-reaches",
    field: "L2 entry",
    was: "amend to version 2 made the file petabytes long, and checking that went through all of them",
    base: "bitmaps",
    mutations: [
      set("L2", "entry", 9992, 8, "1411dffe05d898fd"),
      set("L1", "entry", 1536, 8, "8000000000000e00"),
    ],
  },
  {
    name: "data-file-name-with-a-zero-byte",
    field: "external data file name",
    was: "a name did not end at its zero byte, as it does for QEMU",
    base: "data file, raw on",
    mutations: [set("data file extension", "length", 116, 4, "5")],
  },
  {
    name: "backing-name-of-no-bytes",
    field: "backing_file_size",
    was: "an empty name was opened, where QEMU has no backing file",
    base: "over a qcow2 image",
    mutations: [set("header", "backing_file_size", 16, 4, "0")],
  },
  {
    name: "backing-format-of-no-bytes",
    field: "backing format name",
    was: "an empty name was an unknown format, where QEMU finds the format out",
    base: "over a raw image",
    mutations: [set("backing format name", "entry", 120, 1, "0")],
  },
  {
    name: "bitmap-table-where-no-file-reaches",
    field: "bitmap_table_offset",
    was: "QEMU reads zeros here; we refuse it, see docs/deviations.md",
    base: "bitmaps",
    mutations: [set("bitmap", "bitmap_table_offset", 14880, 8, "2000000000003400")],
  },
  {
    name: "l1-table-at-the-header",
    field: "l1_table_offset",
    was: "QEMU reads the header as a table here; we refuse it, see docs/deviations.md",
    base: "compressed with zlib",
    mutations: [set("header", "l1_table_offset", 40, 8, "0")],
  },
  {
    name: "luks-with-half-a-sector",
    field: "length of the file",
    was: "QEMU decrypts a piece of a sector; we leave it out, see docs/deviations.md",
    base: "LUKS",
    mutations: [{ kind: "extend", length: 511 }],
  },
];
