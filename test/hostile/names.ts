/** Hostile names: what images call things, made of what terminals and readers of logs take for more than text. */
import { data, l2, places, poke, poked, text, type HostileImage, type Poke } from "./images.ts";

const KiB = 1024;

/**
 * Clears the screen, sets the title, rings, goes back to the start of the line, turns text around, and
 * pretends to be a line of its own. Short enough for a feature's name.
 */
export const controls = "a\u001b[2J\u001b]0;t\u0007\r\b\u007f\u009b31m\u202e\u2028\nFORGED";

const bytesOf = (value: string): number => new TextEncoder().encode(value).length;

/** Extensions behind a header of 112 bytes: type, and text. */
function extensions(bytes: Uint8Array, list: ReadonlyArray<readonly [number, string]>): Uint8Array {
  let at = 112;
  for (const [type, value] of list) {
    const length = bytesOf(value);
    poked(bytes, [
      [at, 4, BigInt(type)],
      [at + 4, 4, BigInt(length)],
    ]);
    text(bytes, at + 8, value);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return poked(bytes, [[at, 8, 0n]]);
}

const named = (
  name: string,
  field: string,
  pokes: readonly Poke[],
  list: ReadonlyArray<readonly [number, string]> = [],
  more: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes,
): HostileImage => ({
  name: `names-${name}`,
  field,
  like: "CVE-2003-0063",
  make: (sound) => more(extensions(poke(sound, pokes), list)),
});

const backing = (value: string): Poke[] => [
  [8, 8, 4096n],
  [16, 4, BigInt(bytesOf(value))],
];
const withBacking =
  (value: string) =>
  (bytes: Uint8Array): Uint8Array =>
    text(bytes, 4096, value);
const formatIs = 0xe279_2aca;
const dataFileIs = 0x4441_5441;
const featuresAre = 0x6803_f857;
const bitmapsAre = 0x2385_2875;
const json = `json:{"driver":${JSON.stringify(controls)},"file.filename":"x"}`;
const table = 448 * KiB;

const feature = (kind: number, bit: number): string =>
  `${String.fromCharCode(kind, bit)}${controls}${"\0".repeat(46 - bytesOf(controls))}`;

/** A snapshot whose id and name are these. */
function snapshot(bytes: Uint8Array, id: string, name: string): Uint8Array {
  poked(bytes, [
    [60, 4, 1n],
    [64, 8, BigInt(table)],
    [table, 8, BigInt(places.l1)],
    [table + 8, 4, 1n],
    [table + 12, 2, BigInt(bytesOf(id))],
    [table + 14, 2, BigInt(bytesOf(name))],
    [table + 36, 4, 16n],
    [table + 48, 8, BigInt(KiB * KiB)],
  ]);
  return text(bytes, table + 56, id + name);
}

/** A bitmap of that name, with the extension that leads to it; `flags` 1 is in use. */
function bitmap(bytes: Uint8Array, name: string, flags: number): Uint8Array {
  const size = Math.ceil((24 + bytesOf(name)) / 8) * 8;
  poked(bytes, [
    [88, 8, 1n],
    [112, 4, BigInt(bitmapsAre)],
    [116, 4, 24n],
    [120, 8, 1n << 32n],
    [128, 8, BigInt(size)],
    [136, 8, BigInt(table)],
    [144, 8, 0n],
    [table, 8, BigInt(384 * KiB)],
    [table + 8, 4, 1n],
    [table + 12, 4, BigInt(flags)],
    [table + 16, 1, 1n],
    [table + 17, 1, 16n],
    [table + 18, 2, BigInt(bytesOf(name))],
    [table + 20, 4, 0n],
  ]);
  return text(bytes, table + 24, name);
}

/** All of them. */
export const nameImages: readonly HostileImage[] = [
  named("backing-file", "backing file name", backing(controls), [], withBacking(controls)),
  named(
    "backing-file-with-format",
    "backing file name",
    backing(controls),
    [[formatIs, "qcow2"]],
    withBacking(controls),
  ),
  named("backing-file-protocol", "backing file name", backing(`nbd:${controls}`), [], (bytes) =>
    text(bytes, 4096, `nbd:${controls}`),
  ),
  named("backing-file-json", "backing file name", backing(json), [], withBacking(json)),
  named(
    "backing-file-json-broken",
    "backing file name",
    backing(`json:{${controls}`),
    [],
    (bytes) => text(bytes, 4096, `json:{${controls}`),
  ),
  named(
    "backing-format",
    "backing format",
    backing("sound"),
    [[formatIs, controls.slice(0, 14)]],
    withBacking("sound"),
  ),
  named("data-file", "external data file name", [[72, 8, 4n]], [[dataFileIs, controls]]),
  named("data-file-json", "external data file name", [[72, 8, 4n]], [[dataFileIs, json]]),
  named("feature", "feature name", [[72, 8, 1n << 40n]], [[featuresAre, feature(0, 40)]]),
  named("known-feature", "feature name", [[72, 8, 2n]], [[featuresAre, feature(0, 1)]]),
  named("unknown-extension", "header extension", [], [[0x1234_5678, controls]]),
  named("snapshot", "snapshot name", [], [], (bytes) => snapshot(bytes, "1", controls)),
  named("snapshot-id", "snapshot id", [], [], (bytes) => snapshot(bytes, controls, "s")),
  named("bitmap", "bitmap name", [], [], (bytes) => bitmap(bytes, controls, 2)),
  named("bitmap-in-use", "bitmap name", [], [], (bytes) => bitmap(bytes, controls, 1)),
  // An image with something to say about it: damage, and a name.
  named(
    "backing-file-of-damage",
    "backing file name",
    [
      ...backing(controls),
      [l2, 8, (1n << 63n) | BigInt(data + 512)],
      [l2 + 8, 8, (1n << 63n) | (1n << 40n)],
    ],
    [],
    withBacking(controls),
  ),
  {
    name: "luks-names-uuid",
    field: "LUKS UUID",
    like: "CVE-2003-0063",
    from: "luks",
    make: (sound) => text(sound.slice(), 168, controls.slice(0, 30)),
  },
  {
    name: "luks-names-hash",
    field: "LUKS hash",
    like: "CVE-2003-0063",
    from: "luks",
    make: (sound) => text(sound.slice(), 72, controls.slice(0, 26)),
  },
];
