/**
 * Where the numbers of an image are: every field of every table, found from the field tables that
 * Platter itself reads images with.
 */
import type { Structure } from "../../src/bytes/index.ts";
import {
  luksSlotStructure,
  luksStructure,
  slotSize,
  slotsAt,
} from "../../src/formats/luks-header.ts";
import { directoryStructure } from "../../src/formats/qcow2/bitmap-directory.ts";
import { bitmapExtensionStructure } from "../../src/formats/qcow2/bitmap-extension.ts";
import { headerStructure } from "../../src/formats/qcow2/header.ts";
import {
  snapshotExtraStructure,
  snapshotStructure,
} from "../../src/formats/qcow2/snapshot-table.ts";

/** A number in an image. */
export interface Place {
  /** The table it is in. */
  readonly table: string;
  readonly field: string;
  /** Byte of the file. */
  readonly at: number;
  /** Bytes. */
  readonly width: 1 | 2 | 4 | 8;
}

const widths = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;
/** Entries of one table that are looked at: enough for those in use and some that are not. */
const mostEntries = 48;
const extensionNames: Readonly<Record<number, string>> = {
  0xe279_2aca: "backing format",
  0x6803_f857: "feature names",
  0x2385_2875: "bitmaps",
  0x0537_be77: "encryption",
  0x4441_5441: "data file",
};

/** The places of all numbers in a sound image. */
export function placesOf(bytes: Uint8Array, format: "qcow2" | "luks"): Place[] {
  const finder = new Finder(bytes);
  if (format === "luks") finder.luks(0);
  else finder.qcow2();
  return finder.places;
}

class Finder {
  readonly places: Place[] = [];
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  qcow2(): void {
    const header = headerStructure.read(this.bytes);
    const isVersion2 = header.version === 2;
    const length = isVersion2 ? 72 : header.header_length;
    this.structure("header", headerStructure, 0, length);
    const clusterSize = 2 ** header.cluster_bits;
    const order = isVersion2 ? 4 : header.refcount_order;
    const isExtended = !isVersion2 && (header.incompatible_features & 16n) !== 0n;
    this.extensions(length);
    this.l1("L1", Number(header.l1_table_offset), header.l1_size, clusterSize, isExtended);
    const refcountTable = Number(header.refcount_table_offset);
    this.entries("refcount table", refcountTable, Math.min(clusterSize / 8, 16), 8);
    for (let i = 0; i < Math.min(clusterSize / 8, 16); i++) {
      const block = Number(this.u64(refcountTable + 8 * i));
      const width = Math.max(1, 2 ** order / 8) as 1 | 2 | 4 | 8;
      if (block !== 0) this.entries("refcount block", block, clusterSize / width, width);
    }
    let at = Number(header.snapshots_offset);
    for (let i = 0; i < header.nb_snapshots; i++) {
      const entry = snapshotStructure.read(this.bytes, at);
      this.structure("snapshot", snapshotStructure, at);
      this.structure("snapshot extra data", snapshotExtraStructure, at + 40, entry.extra_data_size);
      this.l1("snapshot L1", Number(entry.l1_table_offset), entry.l1_size, clusterSize, isExtended);
      const size = 40 + entry.extra_data_size + entry.id_str_size + entry.name_size;
      at += Math.ceil(size / 8) * 8;
    }
  }

  luks(start: number): void {
    this.structure("LUKS header", luksStructure, start);
    for (const [field, at] of [
      ["cipher", 8],
      ["mode", 40],
      ["hash", 72],
    ] as const) {
      this.places.push({ table: "LUKS header", field, at: start + at, width: 1 });
    }
    for (let slot = 0; slot < 8; slot++) {
      this.structure("LUKS key slot", luksSlotStructure, start + slotsAt + slot * slotSize);
    }
  }

  private u64(at: number): bigint {
    return at + 8 <= this.bytes.length ? this.view.getBigUint64(at) : 0n;
  }

  private structure(
    table: string,
    {
      fields,
    }: Structure<
      Readonly<Record<string, { at: number; type: keyof typeof widths; means: string }>>
    >,
    base: number,
    length = Infinity,
  ): void {
    for (const [field, { at, type }] of Object.entries(fields)) {
      const width = widths[type];
      if (at + width <= length) this.places.push({ table, field, at: base + at, width });
    }
  }

  private entries(table: string, at: number, count: number, width: 1 | 2 | 4 | 8): void {
    for (let i = 0; i < Math.min(count, mostEntries); i++) {
      this.places.push({ table, field: "entry", at: at + i * width, width });
    }
  }

  private l1(
    table: string,
    at: number,
    count: number,
    clusterSize: number,
    isExtended: boolean,
  ): void {
    this.entries(table, at, count, 8);
    for (let i = 0; i < Math.min(count, 24); i++) {
      const l2 = Number(this.u64(at + 8 * i) & 0x00ff_ffff_ffff_fe00n);
      if (l2 === 0) continue;
      // Extended entries are two numbers.
      const entries = isExtended ? 2 * (clusterSize / 16) : clusterSize / 8;
      this.entries(table === "L1" ? "L2" : "snapshot L2", l2, entries, 8);
    }
  }

  private extensions(start: number): void {
    let at = start;
    while (at + 8 <= this.bytes.length) {
      const type = this.view.getUint32(at);
      const length = this.view.getUint32(at + 4);
      const table = extensionNames[type] ?? "end of extensions";
      this.places.push({ table: `${table} extension`, field: "type", at, width: 4 });
      this.places.push({ table: `${table} extension`, field: "length", at: at + 4, width: 4 });
      if (type === 0) return;
      const data = at + 8;
      if (table === "bitmaps") this.bitmaps(data);
      else if (table === "encryption") {
        this.places.push({ table: "encryption", field: "offset", at: data, width: 8 });
        this.places.push({ table: "encryption", field: "length", at: data + 8, width: 8 });
        this.luks(Number(this.u64(data)));
      } else if (table !== "feature names") this.entries(`${table} name`, data, length, 1);
      at = data + Math.ceil(length / 8) * 8;
    }
  }

  private bitmaps(extension: number): void {
    this.structure("bitmaps", bitmapExtensionStructure, extension);
    const found = bitmapExtensionStructure.read(this.bytes, extension);
    let at = Number(found.bitmap_directory_offset);
    for (let i = 0; i < found.nb_bitmaps; i++) {
      const entry = directoryStructure.read(this.bytes, at);
      this.structure("bitmap", directoryStructure, at);
      this.entries("bitmap table", Number(entry.bitmap_table_offset), entry.bitmap_table_size, 8);
      const size = directoryStructure.size + entry.extra_data_size + entry.name_size;
      at += Math.ceil(size / 8) * 8;
    }
  }
}
