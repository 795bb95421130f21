/** Hostile LUKS headers: alone, and inside a qcow2 image. */
import { slotSize, slotsAt } from "../../src/formats/luks-header.ts";
import { data, poke, poked, text, type HostileImage, type Poke } from "./images.ts";

/** The secret that opens the sound image. */
export const luksPassword = "hostile";

const image = (name: string, field: string, pokes: readonly Poke[]): HostileImage => ({
  name: `luks-${name}`,
  field: `LUKS ${field}`,
  from: "luks",
  make: (sound) => poked(sound.slice(), pokes),
});

const named = (name: string, field: string, at: number, value: string): HostileImage => ({
  name: `luks-${name}`,
  field: `LUKS ${field}`,
  from: "luks",
  make: (sound) => text(text(sound.slice(), at, "\0".repeat(32)), at, value),
});

const edges: ReadonlyArray<readonly [string, number, 2 | 4, readonly bigint[]]> = [
  ["version", 6, 2, [0n, 2n, 0xffffn]],
  ["payload offset", 104, 4, [0n, 1n, 8n, 0x7fff_ffffn, 0xffff_ffffn]],
  ["key bytes", 108, 4, [0n, 7n, 8n, 1024n, 1025n, 0x7fff_ffffn, 0xffff_ffffn]],
  ["digest iterations", 164, 4, [0n, 0x800_0001n, 0x8000_0000n, 0xffff_ffffn]],
  ["slot 0 state", slotsAt, 4, [0n, 1n, 0xffff_ffffn]],
  // Of PBKDF2: 2^32 are hours, and there are eight slots.
  ["slot 0 iterations", slotsAt + 4, 4, [0n, 0x800_0001n, 0x8000_0000n, 0xffff_ffffn]],
  ["slot 0 key offset", slotsAt + 40, 4, [0n, 1n, 0x7fff_ffffn, 0xffff_ffffn]],
  ["slot 0 stripes", slotsAt + 44, 4, [0n, 1n, 4001n, 0x7fff_ffffn, 0xffff_ffffn]],
  ["slot 1 key offset", slotsAt + slotSize + 40, 4, [8n, 9n]],
];

const numbers = edges.flatMap(([field, at, width, values]) =>
  values.map((value) =>
    image(`${field.replaceAll(" ", "-")}-${value.toString(16)}`, field, [[at, width, value]]),
  ),
);

const names = [
  named("cipher-none", "cipher name", 8, ""),
  named("cipher-unknown", "cipher name", 8, "rot13"),
  named("cipher-without-end", "cipher name", 8, "a".repeat(32)),
  named("cipher-controls", "cipher name", 8, "aes\u001b[2J"),
  named("mode-none", "cipher mode", 40, ""),
  named("mode-half", "cipher mode", 40, "cbc-"),
  named("mode-essiv-of-nothing", "cipher mode", 40, "cbc-essiv:"),
  named("mode-essiv-of-unknown", "cipher mode", 40, "cbc-essiv:\u001b]0;x"),
  named("hash-none", "hash", 72, ""),
  named("hash-unknown", "hash", 72, "\u001b[31mcrc32"),
  named("hash-of-no-use", "hash", 72, "md5"),
  named("uuid-controls", "UUID", 168, "\u001b[2J\r\n\u202e"),
];

const cuts: HostileImage[] = [6, 7, 8, 200, 591, 592, 4096, 100_000].map((length) => ({
  name: `luks-cut-at-${length}`,
  field: "length of the file",
  from: "luks",
  make: (sound) => sound.slice(0, length),
}));

/** All slots active, each with as many iterations as just pass alone. */
const slow: HostileImage = {
  name: "luks-eight-slots-of-iterations",
  field: "LUKS iterations of all slots together",
  from: "luks",
  make: (sound) =>
    poked(
      sound.slice(),
      Array.from({ length: 8 }, (_, i): Poke[] => [
        [slotsAt + i * slotSize, 4, 0x00ac_71f3n],
        [slotsAt + i * slotSize + 4, 4, 0x700_0000n],
      ]).flat(),
    ),
};

/** The extension that says where the LUKS header of a qcow2 image is. */
const inside = (
  [
    [0n, 592n],
    [1n, 592n],
    [BigInt(data), 0n],
    [BigInt(data), 591n],
    [BigInt(data), 592n],
    [1n << 40n, 592n],
    [(1n << 64n) - 65_536n, 65_536n],
    [BigInt(data), (1n << 64n) - 1n],
  ] as const
).map(([offset, length], i): HostileImage => ({
  name: `luks-inside-${i}`,
  field: "full disk encryption header pointer",
  make: (sound) =>
    poke(sound, [
      [32, 4, 2n],
      [112, 4, 0x0537_be77n],
      [116, 4, 16n],
      [120, 8, offset],
      [128, 8, length],
      [136, 8, 0n],
    ]),
}));

/** All of them. */
export const luksImages: readonly HostileImage[] = [...numbers, ...names, ...cuts, slow, ...inside];
