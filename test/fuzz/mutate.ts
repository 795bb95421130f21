/** Damages images: fields of their structures, entries of their tables, and bytes anywhere. */
import { headerStructure } from "../../src/formats/qcow2/header.ts";
import type { Base } from "./corpus.ts";
import type { Random } from "./random.ts";

/** A damaged image, and in words what was done to it. */
export interface Mutant {
  readonly base: string;
  readonly bytes: Uint8Array;
  readonly changes: readonly string[];
}

/** A table of an image: where its entries are. */
interface TableOf {
  readonly name: string;
  readonly at: number;
  readonly entrySize: number;
  readonly count: number;
}

const offsetMask = 0x00ff_ffff_ffff_fe00n;

const read64 = (view: DataView, at: number): bigint =>
  at >= 0 && at + 8 <= view.byteLength ? view.getBigUint64(at) : 0n;

/** The tables of an undamaged qcow2 image. */
function tablesOf(bytes: Uint8Array): readonly TableOf[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const header = headerStructure.read(bytes);
  const clusterSize = 2 ** header.cluster_bits;
  const isExtended = header.version >= 3 && (header.incompatible_features & 16n) !== 0n;
  const entry = isExtended ? 16 : 8;
  const tables: TableOf[] = [];
  const add = (name: string, at: bigint, entrySize: number, count: number): void => {
    const inside = Math.min(count, Math.floor((bytes.length - Number(at)) / entrySize));
    if (at > 0n && inside > 0) tables.push({ name, at: Number(at), entrySize, count: inside });
  };
  const addL1 = (name: string, at: bigint, count: number): void => {
    add(`${name} table`, at, 8, count);
    for (let i = 0; i < Math.min(count, 64); i++) {
      const l2 = read64(view, Number(at) + i * 8) & offsetMask;
      add(`L2 table of ${name}`, l2, entry, clusterSize / entry);
    }
  };
  addL1("L1", header.l1_table_offset, header.l1_size);
  const refcounts = header.refcount_table_offset;
  add("refcount table", refcounts, 8, (header.refcount_table_clusters * clusterSize) / 8);
  for (let i = 0; i < 16; i++) {
    const block = read64(view, Number(refcounts) + i * 8) & offsetMask;
    add("refcount block", block, 2, clusterSize / 2);
  }
  let snapshot = Number(header.snapshots_offset);
  for (let i = 0; i < header.nb_snapshots; i++) {
    add("snapshot", BigInt(snapshot), 4, 20);
    addL1("snapshot", read64(view, snapshot), view.getUint32(snapshot + 8));
    const extra = view.getUint32(snapshot + 36);
    const names = view.getUint16(snapshot + 12) + view.getUint16(snapshot + 14);
    snapshot += Math.ceil((40 + extra + names) / 8) * 8;
  }
  const headerLength = header.version >= 3 ? header.header_length : 72;
  for (let at = headerLength; at + 8 <= Math.min(clusterSize, bytes.length);) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    add("header extension", BigInt(at), 4, 2 + Math.ceil(length / 4));
    if (type === 0) break;
    if (type === 0x23852875) {
      const directory = read64(view, at + 24);
      add("bitmap directory", directory, 4, 24);
      add("bitmap table", read64(view, Number(directory)), 8, 8);
    }
    if (type === 0x0537be77) add("LUKS header", read64(view, at + 8), 4, 148);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return tables;
}

/** Numbers that have been wrong before: limits, neighbours, and places in the image. */
function interesting(random: Random, old: bigint, bits: number, bytes: Uint8Array): bigint {
  const size = BigInt(bytes.length);
  const all = (1n << BigInt(bits)) - 1n;
  const place = BigInt(random.below(bytes.length));
  const value = random.pick([
    0n,
    1n,
    2n,
    all,
    all >> 1n,
    (all >> 1n) + 1n,
    old + 1n,
    old - 1n,
    old * 2n,
    old ^ (1n << BigInt(random.below(bits))),
    old ^ (1n << BigInt(random.below(bits))),
    old ^ (1n << BigInt(random.below(bits))),
    size,
    size - 1n,
    size + 1n,
    place,
    place & ~511n,
    place & ~511n,
    (place & ~4095n) | (1n << 63n),
    (place & ~511n) | (1n << 63n),
    (place & ~511n) | (1n << 62n) | (BigInt(random.below(256)) << 54n),
    1n << BigInt(random.below(bits)),
  ]);
  return value & all;
}

function put(bytes: Uint8Array, at: number, width: number, value: bigint): void {
  for (let i = 0; i < width && at + i < bytes.length; i++) {
    bytes[at + i] = Number((value >> BigInt(8 * (width - 1 - i))) & 0xffn);
  }
}

function get(bytes: Uint8Array, at: number, width: number): bigint {
  let value = 0n;
  for (let i = 0; i < width; i++) value = (value << 8n) | BigInt(bytes[at + i] ?? 0);
  return value;
}

function replace(
  random: Random,
  bytes: Uint8Array,
  name: string,
  at: number,
  width: number,
): string {
  const old = get(bytes, at, width);
  const value = interesting(random, old, width * 8, bytes);
  put(bytes, at, width, value);
  return `${name} at ${at}: 0x${old.toString(16)} to 0x${value.toString(16)}`;
}

function changeByte(random: Random, bytes: Uint8Array): string {
  const at = random.below(random.pick([bytes.length, Math.min(bytes.length, 1024)]));
  bytes[at] = random.pick([0, 0xff, random.below(256), (bytes[at] ?? 0) ^ (1 << random.below(8))]);
  return `byte ${at} to ${bytes[at]}`;
}

/** One of the images, damaged in one to four ways. */
export function mutate(bases: readonly Base[], random: Random): Mutant {
  const base = random.pick(bases);
  let bytes = base.bytes.slice();
  const changes: string[] = [];
  const tables = base.format === "qcow2" ? tablesOf(base.bytes) : [];
  const widths = { u16: 2, u32: 4, u64: 8, u8: 1 } as const;
  for (let left = 1 + random.below(4); left > 0; left--) {
    const kind = random.below(12);
    if (kind < 3 && base.format === "qcow2") {
      const [name, field] = random.pick(Object.entries(headerStructure.fields));
      changes.push(replace(random, bytes, name, field.at, widths[field.type]));
    } else if (kind < 9 && tables.length > 0) {
      const { name, at, entrySize, count } = random.pick(tables);
      // Most entries of a table are empty.
      const index = random.below(random.pick([count, Math.min(count, 8)]));
      const width = entrySize === 16 ? 8 : entrySize;
      const half = entrySize === 16 ? 8 * random.below(2) : 0;
      changes.push(
        replace(random, bytes, `${name}[${index}]`, at + index * entrySize + half, width),
      );
    } else if (kind === 9 && random.below(4) === 0) {
      const length = random.below(bytes.length);
      bytes = bytes.slice(0, random.pick([length, length & ~511, length & ~4095]));
      changes.push(`cut to ${bytes.length} bytes`);
    } else changes.push(changeByte(random, bytes));
  }
  return { base: base.name, bytes, changes };
}
