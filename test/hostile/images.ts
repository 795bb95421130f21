/**
 * Hostile images: each changes one thing in a sound qcow2 image and says which field that is. `like` is
 * the CVE whose class it belongs to, where there is one.
 */

/** A file that no command may touch, whatever names it. */
export const canary = "/canary-that-nobody-opens";

/** A hostile image: its name, the field, and how the sound image becomes it. */
export interface HostileImage {
  readonly name: string;
  readonly field: string;
  readonly like?: string;
  /** What it is made of; default a qcow2 image. */
  readonly from?: "luks";
  readonly make: (sound: Uint8Array) => Uint8Array;
}

const KiB = 1024;
/** Where the sound image, with clusters of 64 KiB and one data cluster, has its tables. */
export const places = { refcountTable: 64 * KiB, refcountBlock: 128 * KiB, l1: 192 * KiB } as const;
/** Its L2 table. */
export const l2 = 256 * KiB;
/** Its data cluster. */
export const data = 320 * KiB;
const end = 512 * KiB;

/** A number of so many bytes at a place. */
export type Poke = readonly [at: number, width: 1 | 2 | 4 | 8, value: bigint];

/** The sound image, made longer, with other numbers. */
export function poke(sound: Uint8Array, pokes: readonly Poke[]): Uint8Array {
  const bytes = new Uint8Array(end);
  bytes.set(sound);
  return poked(bytes, pokes);
}

/** Changes numbers of an image. */
export function poked(bytes: Uint8Array, pokes: readonly Poke[]): Uint8Array {
  const view = new DataView(bytes.buffer);
  for (const [at, width, value] of pokes) {
    if (width === 1) view.setUint8(at, Number(value));
    else if (width === 2) view.setUint16(at, Number(value));
    else if (width === 4) view.setUint32(at, Number(value));
    else view.setBigUint64(at, value);
  }
  return bytes;
}

/** Writes a text into an image. */
export const text = (bytes: Uint8Array, at: number, value: string): Uint8Array => {
  bytes.set(new TextEncoder().encode(value), at);
  return bytes;
};

const image = (
  name: string,
  field: string,
  pokes: readonly Poke[],
  like?: string,
): HostileImage => ({
  name,
  field,
  ...(like !== undefined && { like }),
  make: (sound) => poke(sound, pokes),
});

/** Header fields at their edges. */
const fields: ReadonlyArray<readonly [string, number, 4 | 8, readonly bigint[], string?]> = [
  ["version", 4, 4, [0n, 1n, 4n, 0xffff_ffffn]],
  [
    "backing_file_offset",
    8,
    8,
    [1n, 111n, 65_535n, 65_536n, 1n << 63n, (1n << 64n) - 1n],
    "CVE-2014-0144",
  ],
  ["cluster_bits", 20, 4, [0n, 8n, 22n, 31n, 63n, 0xffff_ffffn], "CVE-2014-0222"],
  ["size", 24, 8, [0n, 1n, 1n << 53n, 1n << 62n, 1n << 63n, (1n << 64n) - 1n], "CVE-2013-2096"],
  ["crypt_method", 32, 4, [1n, 2n, 3n, 0xffff_ffffn]],
  ["l1_size", 36, 4, [0n, 2n, 0x40_0001n, 0x7fff_ffffn, 0xffff_ffffn], "CVE-2014-0143"],
  [
    "l1_table_offset",
    40,
    8,
    [0n, 1n, 65_536n, 1n << 40n, 1n << 63n, (1n << 64n) - 65_536n],
    "CVE-2014-0144",
  ],
  ["refcount_table_offset", 48, 8, [0n, 1n, 1n << 40n, (1n << 64n) - 65_536n], "CVE-2014-0144"],
  ["refcount_table_clusters", 56, 4, [0n, 2n, 0x1_0000n, 0xffff_ffffn], "CVE-2014-0144"],
  ["nb_snapshots", 60, 4, [1n, 1000n, 65_537n, 0xffff_ffffn], "CVE-2014-0144"],
  ["incompatible_features", 72, 8, [1n, 2n, 4n, 8n, 16n, 32n, 1n << 62n, (1n << 64n) - 1n]],
  ["compatible_features", 80, 8, [1n, (1n << 64n) - 1n]],
  ["autoclear_features", 88, 8, [1n, 2n, (1n << 64n) - 1n]],
  ["refcount_order", 96, 4, [0n, 6n, 7n, 63n, 0xffff_ffffn]],
  ["header_length", 100, 4, [0n, 72n, 103n, 105n, 65_537n, 0xffff_ffffn], "CVE-2014-0144"],
  ["compression_type", 104, 4, [0x0100_0000n, 0xff00_0000n]],
];

const headers = fields.flatMap(([field, at, width, values, like]) =>
  values.map((value) => image(`${field}-${value.toString(16)}`, field, [[at, width, value]], like)),
);

/** Table entries that point to where they must not. */
const targets: ReadonlyArray<readonly [string, bigint]> = [
  ["header", 1n << 63n],
  ["unaligned", (1n << 63n) | 512n],
  ["refcount-table", (1n << 63n) | BigInt(places.refcountTable)],
  ["l1", (1n << 63n) | BigInt(places.l1)],
  ["l2", (1n << 63n) | BigInt(l2)],
  ["data", (1n << 63n) | BigInt(data)],
  ["past-the-end", (1n << 63n) | (1n << 40n)],
  ["last-offset", (1n << 63n) | 0x00ff_ffff_ffff_0000n],
  ["reserved-bits", (1n << 63n) | BigInt(data) | 0x1f00_0000_0000_0002n],
  ["all-ones", (1n << 64n) - 1n],
];

const entries = (
  [
    ["L1 entry", places.l1],
    ["L2 entry", l2],
    ["second L2 entry", l2 + 8],
    ["refcount table entry", places.refcountTable, "CVE-2014-0147"],
  ] as const
).flatMap(([field, at, like]) =>
  targets.map(([what, value]) =>
    image(`${field.replaceAll(" ", "-")}-${what}`, field, [[at, 8, value]], like),
  ),
);

const refcounts = [0n, 2n, 0xffffn].flatMap((value) =>
  [0, 1, 2, 3, 4, 5].map((cluster) =>
    image(`refcount-${cluster}-is-${value}`, "refcount", [
      [places.refcountBlock + cluster * 2, 2, value],
    ]),
  ),
);

const streams: HostileImage[] = [
  ["of-zeros", (1n << 62n) | BigInt(400 * KiB)],
  ["at-the-header", 1n << 62n],
  ["past-the-end", (1n << 62n) | (1n << 40n)],
  ["over-the-end", (1n << 62n) | (127n << 54n) | BigInt(end - 512)],
  ["of-most-sectors", (1n << 62n) | (255n << 54n) | BigInt(data)],
].map(([what, value]) =>
  image(`stream-${String(what)}`, "compressed cluster descriptor", [[l2 + 8, 8, BigInt(value!)]]),
);

const names: HostileImage[] = [
  canary,
  `file:${canary}`,
  `json:{"driver":"raw","file":{"driver":"file","filename":"${canary}"}}`,
  `nbd+unix:///?socket=${canary}`,
  `nbd:unix:${canary}`,
  "http://127.0.0.1:1/x",
  "ssh://127.0.0.1/x",
  "fat:/",
  "blkdebug::/x",
  "json:{",
  "/dev/zero",
  "/proc/self/mem",
  "a\u001b[2Jb\r\n\u202e",
  "\0",
  "",
].map((name, i) => ({
  name: `backing-name-${i}`,
  field: "backing file name",
  like: "CVE-2015-1851",
  make: (sound) =>
    text(
      poke(sound, [
        [8, 8, 4096n],
        [16, 4, BigInt(new TextEncoder().encode(name).length)],
      ]),
      4096,
      name,
    ),
}));

/** Extensions: data file names, and lengths that lie. The first one starts at 112. */
const extensions: HostileImage[] = [
  ...[canary, `json:{"driver":"file","filename":"${canary}"}`, "", "/dev/zero"].map((name, i) => ({
    name: `data-file-name-${i}`,
    field: "external data file name",
    like: "CVE-2024-4467",
    make: (sound: Uint8Array) =>
      text(
        poke(sound, [
          [72, 8, 4n],
          [112, 4, 0x4441_5441n],
          [116, 4, BigInt(name.length)],
          [120 + Math.ceil(name.length / 8) * 8, 8, 0n],
        ]),
        120,
        name,
      ),
  })),
  ...[0xe279_2acan, 0x6803_f857n, 0x2385_2875n, 0x0537_be77n, 0x4441_5441n, 0x1234_5678n].flatMap(
    (type) =>
      [1n, 0x7fff_ffffn, 0xffff_ffffn].map((length) =>
        image(
          `extension-${type.toString(16)}-length-${length.toString(16)}`,
          "header extension length",
          [
            [112, 4, type],
            [116, 4, length],
          ],
        ),
      ),
  ),
];

/** The bitmaps extension: count, directory size, directory offset. */
const bitmaps: HostileImage[] = (
  [
    [0n, 0n, 0n],
    [1n, 24n, 0n],
    [1n, 24n, BigInt(data)],
    [65_536n, 24n, BigInt(data)],
    [0xffff_ffffn, (1n << 64n) - 1n, BigInt(data)],
    [1n, 1n << 40n, BigInt(data)],
    [1n, 24n, 1n << 62n],
  ] as const
).map(([count, size, offset], i) =>
  image(`bitmaps-${i}`, "bitmaps extension", [
    [88, 8, 1n],
    [112, 4, 0x2385_2875n],
    [116, 4, 24n],
    [120, 8, count << 32n],
    [128, 8, size],
    [136, 8, offset],
    [144, 8, 0n],
  ]),
);

/** Snapshot tables at 448 KiB: L1 offset, L1 size, length of id and name, extra data. */
const snapshots: HostileImage[] = (
  [
    [BigInt(places.l1), 1n, 0n, 0n],
    [1n, 1n, 0n, 0n],
    [1n << 62n, 1n, 0n, 0n],
    [BigInt(places.l1), 0xffff_ffffn, 0n, 0n],
    [BigInt(places.l1), 1n, 0xffff_ffffn, 0n],
    [BigInt(places.l1), 1n, 0n, 0xffff_ffffn],
    [0n, 1n, 1n, 16n],
  ] as const
).map(([offset, size, lengths, extra], i) =>
  image(
    `snapshot-${i}`,
    "snapshot table entry",
    [
      [60, 4, 1n],
      [64, 8, BigInt(448 * KiB)],
      [448 * KiB, 8, offset],
      [448 * KiB + 8, 4, size],
      [448 * KiB + 12, 4, lengths],
      [448 * KiB + 36, 4, extra],
    ],
    "CVE-2014-0145",
  ),
);

const cuts: HostileImage[] = [
  0, 3, 4, 71, 103, 111, 120, 65_536, 131_072, 196_608, 196_612, 262_144,
].map((length) => ({
  name: `cut-at-${length}`,
  field: "length of the file",
  make: (sound) => sound.slice(0, length),
}));

/** Those of this file. */
export const pokedImages: readonly HostileImage[] = [
  ...headers,
  ...entries,
  ...refcounts,
  ...streams,
  ...names,
  ...extensions,
  ...bitmaps,
  ...snapshots,
  ...cuts,
];
