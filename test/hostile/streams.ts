/** Hostile compressed clusters: streams that lie about their length, want memory, or never end. */
import { constants, deflateRawSync, deflateSync, zstdCompressSync } from "node:zlib";
import { l2, poke, type HostileImage } from "./images.ts";

const KiB = 1024;
/** Where the stream is. */
const place = 400 * KiB;
const mostSectors = 127;

const bytes = (...parts: ReadonlyArray<number | readonly number[] | Uint8Array>): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "number" ? [part] : [...part])));
const repeated = (count: number, part: readonly number[]): number[] =>
  Array.from({ length: count }, () => part).flat();
const noise = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (Math.imul(i + 1, 0x9e37_79b1) >>> 13) & 255);

/** An image whose second cluster is `stream`, of `sectors` more sectors than the first. */
const image = (
  type: "zlib" | "zstd",
  name: string,
  stream: () => Uint8Array,
  sectors?: number,
): HostileImage => ({
  name: `${type}-${name}`,
  field: "compressed cluster",
  ...(name === "bomb" && { like: "CVE-2015-5162" }),
  make: (sound) => {
    const packed = stream();
    const count = sectors ?? Math.min(mostSectors, Math.floor(packed.length / 512));
    const entry = (1n << 62n) | (BigInt(count) << 54n) | BigInt(place);
    const zstd = [[72, 8, 8n] as const, [104, 1, 1n] as const];
    const made = poke(sound, [[l2 + 8, 8, entry], ...(type === "zstd" ? zstd : [])]);
    made.set(packed.subarray(0, made.length - place), place);
    return made;
  },
});

const cluster = new Uint8Array(64 * KiB).fill(7);
const mixed = (): Uint8Array => {
  const half = cluster.slice();
  half.set(noise(20 * KiB));
  return half;
};

const deflate = [
  image("zlib", "bomb", () => deflateRawSync(new Uint8Array(64 * KiB * KiB), { level: 9 })),
  image("zlib", "twice-the-cluster", () => deflateRawSync(new Uint8Array(128 * KiB))),
  image("zlib", "half-the-cluster", () => deflateRawSync(new Uint8Array(32 * KiB))),
  image("zlib", "of-nothing", () => deflateRawSync(new Uint8Array(0))),
  image("zlib", "cut", () => deflateRawSync(mixed()).subarray(0, 3000), 5),
  image("zlib", "cut-by-its-length", () => deflateRawSync(mixed()), 2),
  image("zlib", "with-junk-behind", () => bytes(deflateRawSync(cluster), noise(2000)), 8),
  image("zlib", "with-a-zlib-header", () => deflateSync(cluster)),
  image("zlib", "of-a-large-window", () =>
    deflateRawSync(bytes(noise(20_000), noise(20_000), noise(20_000), new Uint8Array(5536)), {
      windowBits: 15,
    }),
  ),
  image("zlib", "of-the-reserved-block-type", () => bytes(7, noise(100))),
  image("zlib", "of-a-distance-before-the-start", () => bytes(0x73, 0x04, 0x62, 0xff, 0xff)),
  image("zlib", "of-a-stored-block-that-lies", () => bytes(1, 0xff, 0xff, 0xff, 0xff, noise(100))),
  // Stored blocks of no bytes: progress in the input, none in the output.
  image("zlib", "of-empty-blocks", () => bytes(repeated(12_000, [0, 0, 0, 0xff, 0xff]))),
  image("zlib", "of-a-broken-huffman-tree", () => bytes(0x05, repeated(40, [0xff]))),
  image("zlib", "of-zero-bits", () => new Uint8Array(4096)),
  image("zlib", "of-one-bits", () => new Uint8Array(4096).fill(255)),
];

const magic = [0x28, 0xb5, 0x2f, 0xfd];
/** A frame of one block of `count` equal bytes. */
const rle = (count: number): number[] => {
  const header = 1 | (1 << 1) | (count << 3);
  return [...magic, 0x20, 1, header & 255, (header >> 8) & 255, (header >> 16) & 255, 7];
};

const zstd = [
  image("zstd", "bomb", () => zstdCompressSync(new Uint8Array(32 * KiB * KiB))),
  image("zstd", "twice-the-cluster", () => zstdCompressSync(new Uint8Array(128 * KiB))),
  image("zstd", "half-the-cluster", () => zstdCompressSync(new Uint8Array(32 * KiB))),
  image("zstd", "of-nothing", () => zstdCompressSync(new Uint8Array(0))),
  image("zstd", "cut", () => zstdCompressSync(mixed()).subarray(0, 3000), 5),
  image("zstd", "with-junk-behind", () => bytes(zstdCompressSync(cluster), noise(2000)), 4),
  image("zstd", "with-a-checksum-that-is-wrong", () => {
    const params = { [constants.ZSTD_c_checksumFlag]: 1 };
    const packed = zstdCompressSync(cluster, { params });
    packed.writeUInt8(packed.readUInt8(packed.length - 1) ^ 1, packed.length - 1);
    return packed;
  }),
  // 0x01ff: exponent 31, mantissa 7; decoders with a limit refuse it, others take 3.75 GiB.
  image("zstd", "of-the-largest-window", () => bytes(magic, 0x00, 0xff, 1, 0, 0, noise(64))),
  image("zstd", "of-a-content-size-of-2^64", () =>
    bytes(magic, 0xe0, repeated(8, [255]), noise(64)),
  ),
  image("zstd", "with-a-dictionary", () => bytes(magic, 0x03, 0x50, [1, 2, 3, 4], noise(64))),
  image("zstd", "with-the-reserved-bit", () => bytes(magic, 0x08, 0x50, noise(64))),
  image("zstd", "of-skippable-frames", () =>
    bytes(repeated(6000, [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0])),
  ),
  image("zstd", "of-a-skippable-frame-of-4-gib", () =>
    bytes([0x50, 0x2a, 0x4d, 0x18], repeated(4, [255]), noise(64)),
  ),
  image("zstd", "of-empty-frames", () => bytes(repeated(5000, [...magic, 0x20, 0, 1, 0, 0]))),
  image("zstd", "of-empty-blocks", () => bytes(magic, 0x00, 0x50, repeated(15_000, [0, 0, 0]))),
  image("zstd", "of-many-equal-bytes", () => bytes(rle(0x1f_ffff), noise(64))),
  image("zstd", "of-the-reserved-block-type", () => bytes(magic, 0x00, 0x50, 7, 0, 0, noise(64))),
  image("zstd", "of-another-magic", () => bytes([0x27, 0xb5, 0x2f, 0xfd], noise(64))),
  image("zstd", "of-zeros", () => new Uint8Array(4096)),
];

/** All of them. */
export const streamImages: readonly HostileImage[] = [...deflate, ...zstd];
