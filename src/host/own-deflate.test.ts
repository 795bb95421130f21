import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { findDirectCodecs } from "./direct-codecs.ts";
import { zlibCodec } from "./node-zlib.ts";
import { withOwnDeflate } from "./own-deflate.ts";

const codec = withOwnDeflate(zlibCodec);

/** A generator of numbers below `limit`. */
function numbers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

const words = ["cluster", "table", " ", "\n", "refcount", "0x00", "entry ", "of the "];

/** Kinds of data: what is on disks, and what is hard for an encoder. */
const kinds = {
  zeros: () => 0,
  noise: (next: (limit: number) => number) => next(256),
  letters: (next: (limit: number) => number) => 97 + next(2),
  runs: (next: (limit: number) => number, i: number) => (i >> (next(3) + 6)) & 255,
  records: (next: (limit: number) => number, i: number) => (i % 16 < 3 ? next(256) : i % 16),
} as const;
type Kind = keyof typeof kinds | "text" | "mixed";

function make(kind: Kind, length: number, seed: number): Uint8Array {
  const next = numbers(seed);
  const bytes = new Uint8Array(length);
  if (kind === "text" || kind === "mixed") {
    for (let at = 0; at < length;) {
      const word = words[next(words.length)]!;
      for (let i = 0; i < word.length && at < length; i++) bytes[at++] = word.charCodeAt(i);
      if (kind === "text") continue;
      const noise = Math.min(length - at, next(40));
      for (let i = 0; i < noise; i++) bytes[at++] = next(256);
    }
    return bytes;
  }
  const byte = kinds[kind];
  for (let i = 0; i < length; i++) bytes[i] = byte(next, i);
  return bytes;
}

const allKinds: readonly Kind[] = ["zeros", "noise", "letters", "runs", "records", "text", "mixed"];

/** Packs, and unpacks with a window of 4 KiB in pieces smaller than it, so that nothing further back can be had. */
function check(data: Uint8Array, room: number): number | undefined {
  const into = new Uint8Array(room + 8).fill(0xee);
  const length = codec.compress!(data, into.subarray(0, room));
  expect(into.subarray(room)).toEqual(new Uint8Array(8).fill(0xee));
  if (length === undefined) return undefined;
  const back = inflateRawSync(into.subarray(0, length), { windowBits: 12, chunkSize: 1000 });
  expect(back.equals(data)).toBe(true);
  return length;
}

test("what was packed comes back through a window of 4 KiB", () => {
  const lengths = fc.oneof(fc.nat(600), fc.constantFrom(512, 4096, 65_536), fc.nat(200_000));
  const property = fc.property(
    fc.constantFrom(...allKinds),
    lengths,
    fc.integer(),
    (kind, length, seed) => {
      const data = make(kind, length, seed);
      const packed = check(data, length + (length >>> 6) + 64);
      expect(packed).toBeDefined();
      // As much room as it needs is enough, and less is refused.
      expect(check(data, packed!)).toBe(packed);
      if (packed! > 0) expect(check(data, packed! - 1)).toBeUndefined();
    },
  );
  fc.assert(property, { numRuns: 150 * inject("effort") });
});

test.each(allKinds)("clusters of every size, of %s", (kind) => {
  for (let size = 512; size < 2 * 1024 * 1024; size *= 2) {
    const data = make(kind, size, size);
    const packed = check(data, size + (size >>> 6) + 64);
    expect(packed).toBeDefined();
    expect(check(data, packed!)).toBe(packed);
    expect(check(data, packed! - 1)).toBeUndefined();
    expect(check(data, 0)).toBeUndefined();
  }
});

test.each(allKinds)("the largest cluster, of %s", (kind) => {
  const data = make(kind, 2 * 1024 * 1024, 5);
  // Nobody has room for more than the cluster itself.
  expect(check(data, data.length) === undefined).toBe(kind === "noise");
});

test("packs source code and machine code about as tightly as zlib", () => {
  const directory = import.meta.dirname;
  const sources = readdirSync(directory).map((name) => readFileSync(join(directory, name)));
  const program = readFileSync(process.execPath).subarray(0, 64 * 2 ** 20);
  for (const [bytes, step] of [
    [Buffer.concat(sources), 65_536] as const,
    [program, 2 ** 21] as const,
  ]) {
    let ours = 0;
    let theirs = 0;
    for (let at = 0; at + 65_536 <= bytes.length; at += step) {
      const data = bytes.subarray(at, at + 65_536);
      ours += check(data, data.length) ?? data.length;
      theirs += deflateRawSync(data, { windowBits: 12, memLevel: 9 }).length;
    }
    expect(ours / theirs).toBeLessThan(1.03);
  }
});

test.each([2, 3, 4, 6, 8, 16])(
  "packs %d letters without order about as tightly as zlib",
  (letters) => {
    const next = numbers(letters);
    const data = new Uint8Array(65_536).map(() => 97 + next(letters));
    const theirs = deflateRawSync(data, { windowBits: 12, memLevel: 9 }).length;
    expect(check(data, data.length)! / theirs).toBeLessThan(1.05);
  },
);

test("the same bytes whether zlib is called directly or through Node", () => {
  const { zlib } = findDirectCodecs();
  for (const kind of allKinds) {
    const data = make(kind, 65_536, 9);
    const [through, direct] = [codec, withOwnDeflate(zlib ?? zlibCodec)].map((one) => {
      const into = new Uint8Array(data.length + 1024);
      return into.slice(0, one.compress!(data, into));
    });
    expect(direct).toEqual(through);
  }
});

test("the same bytes whatever was packed before", () => {
  const [first, second] = [make("text", 65_536, 1), make("mixed", 65_536, 2)];
  const pack = (data: Uint8Array): Uint8Array => {
    const into = new Uint8Array(data.length);
    return into.slice(0, codec.compress!(data, into));
  };
  const before = pack(first);
  pack(second);
  expect(pack(first)).toEqual(before);
});

test("a level that was asked for is zlib's", () => {
  const data = make("text", 65_536, 3);
  const into = new Uint8Array(data.length);
  const length = codec.compress!(data, into, 1)!;
  const level = constants.Z_BEST_SPEED;
  const theirs = deflateRawSync(data, { windowBits: 12, memLevel: 9, level });
  expect(theirs.equals(into.subarray(0, length))).toBe(true);
});
