/** More hostile snapshot tables and bitmap directories. */
import { data, places, poke, poked, text, type HostileImage, type Poke } from "./images.ts";

const KiB = 1024;
/** Where the tables are put. */
const table = 448 * KiB;
const controls = "\u001b[2J\r\n\u0007\u202e";

interface Entry {
  readonly l1Offset: bigint;
  readonly l1Size: bigint;
  readonly id: string;
  readonly name: string;
  readonly extra: bigint;
}

const sane: Entry = { l1Offset: BigInt(places.l1), l1Size: 1n, id: "1", name: "s", extra: 16n };
const lengthOf = (value: string): number => new TextEncoder().encode(value).length;
const aligned = (value: number): number => Math.ceil(value / 8) * 8;

function writeEntries(bytes: Uint8Array, entries: readonly Entry[]): Uint8Array {
  let at = table;
  for (const { l1Offset, l1Size, id, name, extra } of entries) {
    poked(bytes, [
      [at, 8, l1Offset],
      [at + 8, 4, l1Size],
      [at + 12, 2, BigInt(lengthOf(id))],
      [at + 14, 2, BigInt(lengthOf(name))],
      [at + 36, 4, extra],
      // The disk's size, in the extra data.
      [at + 48, 8, BigInt(1024 * KiB)],
    ]);
    text(bytes, at + 40 + Number(extra), id + name);
    at += aligned(40 + Number(extra) + lengthOf(id) + lengthOf(name));
  }
  return bytes;
}

const snapshot = (
  name: string,
  field: string,
  entries: ReadonlyArray<Partial<Entry>>,
  pokes: readonly Poke[] = [],
): HostileImage => ({
  name: `snapshots-${name}`,
  field,
  ...(field.startsWith("snapshot L1") && { like: "CVE-2014-0145" }),
  ...(field.includes("snapshots") && { like: "CVE-2014-0144" }),
  make: (sound) => {
    const header: Poke[] = [
      [60, 4, BigInt(entries.length)],
      [64, 8, BigInt(table)],
    ];
    const made = writeEntries(
      poke(sound, header),
      entries.map((entry) => ({ ...sane, ...entry })),
    );
    return poked(made, pokes);
  },
});

const snapshots = [
  snapshot("name-controls", "snapshot name", [{ name: controls }]),
  snapshot("id-controls", "snapshot id", [{ id: controls }]),
  snapshot("no-id-no-name", "snapshot id", [{ id: "", name: "" }]),
  snapshot("same-id", "snapshot id", [{}, {}, {}]),
  snapshot("name-with-zero-byte", "snapshot name", [{ name: "a\0b" }]),
  snapshot("long-name", "snapshot name", [{ name: "n".repeat(20_000) }]),
  snapshot("longest-name", "snapshot name", [{ name: "n".repeat(65_000) }]),
  snapshot("id-that-is-a-name", "snapshot id", [
    { id: "s", name: "1" },
    { id: "1", name: "s" },
  ]),
  snapshot("l1-is-the-header", "snapshot L1 offset", [{ l1Offset: 0n }]),
  snapshot("l1-is-the-snapshot-table", "snapshot L1 offset", [{ l1Offset: BigInt(table) }]),
  snapshot("l1-is-data", "snapshot L1 offset", [{ l1Offset: BigInt(data), l1Size: 8192n }]),
  snapshot("l1-is-the-refcounts", "snapshot L1 offset", [
    { l1Offset: BigInt(places.refcountBlock) },
  ]),
  snapshot("l1-unaligned", "snapshot L1 offset", [{ l1Offset: BigInt(places.l1 + 512) }]),
  snapshot("l1-past-the-end", "snapshot L1 offset", [{ l1Offset: 1n << 50n }]),
  snapshot("l1-of-no-entries", "snapshot L1 size", [{ l1Size: 0n }]),
  snapshot("l1-of-32-mib", "snapshot L1 size", [{ l1Size: 0x40_0000n }]),
  snapshot("l1-of-more-than-32-mib", "snapshot L1 size", [{ l1Size: 0x40_0001n }]),
  snapshot("extra-data-of-1-kib", "snapshot extra data size", [{ extra: 1024n }]),
  snapshot("extra-data-of-more", "snapshot extra data size", [{ extra: 1025n }]),
  snapshot("extra-data-of-none", "snapshot extra data size", [{ extra: 0n }]),
  snapshot("disk-of-2^63", "snapshot disk size", [{}], [[table + 48, 8, 1n << 63n]]),
  snapshot("disk-of-2^62", "snapshot disk size", [{}], [[table + 48, 8, 1n << 62n]]),
  snapshot("vm-state-of-2^63", "snapshot VM state size", [{}], [[table + 40, 8, 1n << 63n]]),
  snapshot(
    "date-at-the-end-of-time",
    "snapshot date",
    [{}],
    [
      [table + 16, 4, 0xffff_ffffn],
      [table + 20, 4, 0xffff_ffffn],
      [table + 24, 8, (1n << 64n) - 1n],
    ],
  ),
  snapshot("table-is-the-header", "snapshots_offset", [{}], [[64, 8, 0n]]),
  snapshot("table-unaligned", "snapshots_offset", [{}], [[64, 8, BigInt(table + 8)]]),
  snapshot("table-at-the-last-offset", "snapshots_offset", [{}], [[64, 8, (1n << 64n) - 65_536n]]),
  snapshot("as-many-as-allowed", "nb_snapshots", [{}], [[60, 4, 65_536n]]),
];

interface Bitmap {
  readonly name: string;
  readonly offset: bigint;
  readonly size: bigint;
  readonly flags: bigint;
  readonly type: bigint;
  readonly granularity: bigint;
  readonly extra: bigint;
}

const plain: Bitmap = {
  name: "b",
  offset: BigInt(384 * KiB),
  size: 1n,
  flags: 2n,
  type: 1n,
  granularity: 16n,
  extra: 0n,
};

const bitmap = (
  name: string,
  field: string,
  entries: ReadonlyArray<Partial<Bitmap>>,
  pokes: readonly Poke[] = [],
): HostileImage => ({
  name: `bitmaps-${name}`,
  field,
  make: (sound) => {
    const made = poke(sound, []);
    let at = table;
    for (const { name: called, offset, size, flags, type, granularity, extra } of entries.map(
      (entry) => ({ ...plain, ...entry }),
    )) {
      poked(made, [
        [at, 8, offset],
        [at + 8, 4, size],
        [at + 12, 4, flags],
        [at + 16, 1, type],
        [at + 17, 1, granularity],
        [at + 18, 2, BigInt(lengthOf(called))],
        [at + 20, 4, extra],
      ]);
      text(made, at + 24, called);
      at += aligned(24 + lengthOf(called));
    }
    return poked(made, [
      [88, 8, 1n],
      [112, 4, 0x2385_2875n],
      [116, 4, 24n],
      [120, 4, BigInt(entries.length)],
      [124, 4, 0n],
      [128, 8, BigInt(at - table)],
      [136, 8, BigInt(table)],
      [144, 8, 0n],
      ...pokes,
    ]);
  },
});

const bitmaps = [
  bitmap("name-controls", "bitmap name", [{ name: controls }]),
  bitmap("name-of-nothing", "bitmap name", [{ name: "" }]),
  bitmap("name-of-1024-bytes", "bitmap name", [{ name: "n".repeat(1024) }]),
  bitmap("name-with-zero-byte", "bitmap name", [{ name: "a\0b" }]),
  bitmap("same-name", "bitmap name", [{}, {}]),
  bitmap("table-is-the-header", "bitmap table offset", [{ offset: 0n }]),
  bitmap("table-unaligned", "bitmap table offset", [{ offset: BigInt(384 * KiB + 8) }]),
  bitmap("table-past-the-end", "bitmap table offset", [{ offset: 1n << 50n }]),
  bitmap("table-at-the-last-offset", "bitmap table offset", [{ offset: (1n << 64n) - 65_536n }]),
  bitmap("table-is-the-l1-table", "bitmap table offset", [{ offset: BigInt(places.l1) }]),
  bitmap("table-of-no-entries", "bitmap table size", [{ size: 0n }]),
  bitmap("table-of-1-gib", "bitmap table size", [{ size: 0x800_0000n, granularity: 9n }]),
  bitmap("table-of-32-gib", "bitmap table size", [{ size: 0xffff_ffffn }]),
  ...[0n, 8n, 9n, 31n, 32n, 63n, 255n].map((granularity) =>
    bitmap(`granularity-${granularity}`, "granularity bits", [{ granularity }]),
  ),
  ...[0n, 2n, 255n].map((type) => bitmap(`type-${type}`, "bitmap type", [{ type }])),
  bitmap("in-use", "bitmap flags", [{ flags: 1n }]),
  bitmap("reserved-flags", "bitmap flags", [{ flags: 0xffff_fff8n }]),
  bitmap("extra-data", "bitmap extra data size", [{ extra: 8n }]),
  bitmap("extra-data-of-4-gib", "bitmap extra data size", [{ extra: 0xffff_ffffn }]),
  bitmap("entry-of-reserved-bits", "bitmap table entry", [{}], [[384 * KiB, 8, (1n << 64n) - 1n]]),
  bitmap("entry-past-the-end", "bitmap table entry", [{}], [[384 * KiB, 8, 1n << 50n]]),
  bitmap("entry-is-the-header", "bitmap table entry", [{}], [[384 * KiB, 8, 0n]]),
  bitmap("entry-is-l1", "bitmap table entry", [{}], [[384 * KiB, 8, BigInt(places.l1)]]),
];

/** All of them. */
export const tableImages: readonly HostileImage[] = [...snapshots, ...bitmaps];
