import { describe, expect, test } from "vitest";
import { PlatterError } from "../errors.ts";
import type { Codec, Codecs, CompressionType } from "./codec.ts";

/** The cluster sizes that qcow2 allows, in bytes. */
export const clusterSizes: readonly number[] = Array.from({ length: 13 }, (_, i) => 512 << i);

/** Cluster contents of `length` bytes, by name; the same ones in every run. */
export const contents: Readonly<Record<string, (length: number) => Uint8Array>> = {
  zero: (length) => new Uint8Array(length),
  random,
  text,
};

/** Bytes that do not compress. */
export function random(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = 0x9e3779b9;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** Words in no order, which compress to about a fifth. */
export function text(length: number): Uint8Array {
  const words = "the quick brown fox jumps over a lazy dog while disk images grow"
    .split(" ")
    .map((word) => new TextEncoder().encode(`${word} `));
  const bytes = new Uint8Array(length);
  let state = 1;
  for (let at = 0; at < length;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const word = words[(state >>> 16) % words.length]!.subarray(0, length - at);
    bytes.set(word, at);
    at += word.length;
  }
  return bytes;
}

/** `text(1024)`, packed by the reference implementations: zlib 1.3 and zstd 1.5. */
const packedText: Readonly<Record<CompressionType, string>> = {
  zlib:
    "bVNRVsMwDLtKrmZYaMs2Am23AqfnWXISZezHr4klW1bcfc7pYr8/aZ9zsnRatjPDMS+XnJarTXlLX7fl9Uwcwlv5Ju" +
    "plLccHuKcypWktR6UwwwgOko7CqdzzymAKskp3oIUIMh+Uvd+un1tEytOOxPDeKLfq46VUQmPphHOgyvTEArbwHC81" +
    "Nmc8TaBJyp3C1OyHz96qudPJQHT/QgzZ6APAoJGRznghgtUXEF0Kj4x+JkneQ2xy+VqqCd11haASmkCNR9VnqjawSi" +
    "j3ywHLbLseBhRnHhaxu2XDgvTZ6n2fSR523M5OCtdi1tjaaGOyynXfYEKvXSfWYoLvwN6nlfekToJh6z/SHJadbnuO" +
    "wL/6/440m/8A",
  zstd:
    "KLUv/WAAA0UJAJLEDxWgVwdm/HL7mzypmSRpwp+qqg7/VQ3l/3PPCOWE/wuNfbvSuWZ4u8qxAQLUFWaYV2pMeh5ian" +
    "zjaUaSJ+NpAYCCqHGXJMu+ASBCoxxDDxAo54Zm22IKsNGlNI6ICL5YmrlYUotSJ9WsDncRAMSNVWTHfqxP1/cPQejM" +
    "yTpneVQFzN8F1vj5jIMbbmts0o/YV1TPBXv7chUqvyRzqoTC9Drk7Y0UUmilKkNU4AJfCY1ko4dBOFIIUMEm/9ieIl" +
    "4MR473B0KQmTroFDstco89uCcPQ04pAMCQjivYOKsfS6O9OsJZLO4dNDEofsnaBvuMMkt/NK2foM4xrpHasrkdZKpN" +
    "hN1EuNN6eQjA4BB2RBiKN6ZUwbtdfi9ZG+qff+oy3XqrWK4K",
};

/** `text(1024)` as a reference implementation packs it. */
export function referenceText(type: CompressionType): Uint8Array {
  return Uint8Array.from(atob(packedText[type]), (character) => character.charCodeAt(0));
}

/** `data` as a zstd frame of stored blocks (RFC 8878, section 3.1.1.2), claiming `contentSize`. */
export function storedZstdFrame(data: Uint8Array, contentSize = BigInt(data.length)): Uint8Array {
  const largest = 128 * 1024;
  const blocks = Math.max(1, Math.ceil(data.length / largest));
  const frame = new Uint8Array(14 + blocks * 3 + data.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, 0xfd2fb528, true);
  // A content size of eight bytes, a window, no checksum, no dictionary; a window of 128 KiB.
  view.setUint8(4, 0xc0);
  view.setUint8(5, 7 << 3);
  view.setBigUint64(6, contentSize, true);
  let at = 14;
  for (let block = 0; block < blocks; block++) {
    const part = data.subarray(block * largest, (block + 1) * largest);
    const header = (part.length << 3) | (block === blocks - 1 ? 1 : 0);
    frame.set([header & 255, (header >>> 8) & 255, header >>> 16], at);
    frame.set(part, at + 3);
    at += 3 + part.length;
  }
  return frame;
}

/**
 * What every {@link Codecs} has to do; registers tests under `name`. Codecs that cannot compress are
 * tested with streams that were packed elsewhere.
 */
export function testCodecs(name: string, codecs: Codecs): void {
  describe.each(["zlib", "zstd"] as const)(`${name}: %s`, (type) => {
    testRoundTrips(codecs, type);
    testDecompress(codecs, type);
    testLimit(codecs, type);
  });
  describe(`${name}: zstd frames`, () => testZstdFrames(codecs));
  test(`${name} refuses a type that it does not know`, async () => {
    const unknown = "lzma" as string as CompressionType;
    await expect(codecs.load(unknown)).rejects.toMatchObject({ code: "E_CODEC" });
  });
}

/** `data` packed by `codec` into at most `room` bytes; by default enough for anything. */
export function packedBy(
  codec: Codec,
  data: Uint8Array,
  room = data.length * 2 + 1024,
  level?: number,
): Uint8Array | undefined {
  const into = new Uint8Array(room);
  const length = codec.compress!(data, into, level);
  return length === undefined ? undefined : into.slice(0, length);
}

/** `data` packed by `codec`, or by the simplest other means where it cannot. */
function pack(codec: Codec, data: Uint8Array): Uint8Array {
  if (codec.compress === undefined) return storedZstdFrame(data);
  return packedBy(codec, data)!;
}

/** Of zlib, QEMU takes what fits; a zstd frame has to fit. */
function expectOverlong(codec: Codec, packed: Uint8Array, start: Uint8Array): void {
  if (codec.type === "zstd") return expectRefused(codec, packed, start.length);
  const into = new Uint8Array(start.length);
  codec.decompress(packed, into);
  expect(same(into, start)).toBe(true);
}

function expectRefused(codec: Codec, packed: Uint8Array, length: number): void {
  let caught: unknown;
  try {
    codec.decompress(packed, new Uint8Array(length));
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(PlatterError);
  expect(caught).toMatchObject({ code: "E_CODEC" });
  expect((caught as PlatterError).message).not.toContain("\n");
}

/** Whether `a` and `b` are the same bytes; much faster than a matcher for megabytes. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function testRoundTrips(codecs: Codecs, type: CompressionType): void {
  test("has its own type, and is the same codec each time", async () => {
    const codec = await codecs.load(type);
    expect(codec.type).toBe(type);
    expect((await codecs.load(type)).type).toBe(type);
  });

  test.each(clusterSizes)("round trip of clusters of %d bytes", async (size) => {
    const codec = await codecs.load(type);
    for (const [kind, make] of Object.entries(contents)) {
      const data = make(size);
      const packed = pack(codec, data);
      // Bytes that are left from before must not shine through.
      const into = new Uint8Array(size).fill(0xa5);
      codec.decompress(packed, into);
      expect(same(into, data), kind).toBe(true);
    }
  });
}

function testDecompress(codecs: Codecs, type: CompressionType): void {
  test("reads what the reference implementation packed", async () => {
    const into = new Uint8Array(1024);
    (await codecs.load(type)).decompress(referenceText(type), into);
    expect(same(into, text(1024))).toBe(true);
  });

  test.each([1, 4, 511, 5000])("ignores %d bytes after the stream", async (junk) => {
    const codec = await codecs.load(type);
    for (const fill of [0, 0xff, 0x28]) {
      for (const packed of [referenceText(type), pack(codec, text(1024))]) {
        const padded = new Uint8Array(packed.length + junk).fill(fill);
        padded.set(packed);
        const into = new Uint8Array(1024);
        codec.decompress(padded, into);
        expect(same(into, text(1024))).toBe(true);
      }
    }
  });

  test("works on a part of a larger buffer, and leaves the rest and the input alone", async () => {
    const codec = await codecs.load(type);
    const packed = referenceText(type);
    const from = new Uint8Array(packed.length + 20).fill(7);
    from.set(packed, 13);
    const before = from.slice();
    const buffer = new Uint8Array(1024 + 30).fill(9);
    codec.decompress(from.subarray(13, 13 + packed.length), buffer.subarray(17, 17 + 1024));
    expect(same(buffer.subarray(17, 17 + 1024), text(1024))).toBe(true);
    expect(buffer.subarray(0, 17).every((byte) => byte === 9)).toBe(true);
    expect(buffer.subarray(17 + 1024).every((byte) => byte === 9)).toBe(true);
    expect(same(from, before)).toBe(true);
  });

  test("refuses a stream that is cut off", async () => {
    const codec = await codecs.load(type);
    const packed = referenceText(type);
    for (const length of [0, 1, 3, 4, 5, 9, 20, packed.length >> 1, packed.length - 20]) {
      expectRefused(codec, packed.slice(0, length), 1024);
    }
  });

  test.each([1, 2, 511, 513, 4096])("a stream that is %d bytes too long", async (more) => {
    const codec = await codecs.load(type);
    for (const make of Object.values(contents)) {
      expectOverlong(codec, pack(codec, make(512 + more)), make(512 + more).subarray(0, 512));
    }
    expectOverlong(codec, referenceText(type), text(1024).subarray(0, 1023));
  });

  test("a stream that unpacks to a hundred times the cluster", async () => {
    const codec = await codecs.load(type);
    expectOverlong(codec, pack(codec, new Uint8Array(512 * 100)), new Uint8Array(512));
  });

  test.each([1, 2, 511, 4096])("refuses a stream that is %d bytes too short", async (fewer) => {
    const codec = await codecs.load(type);
    for (const make of Object.values(contents)) {
      expectRefused(codec, pack(codec, make(512)), 512 + fewer);
    }
    expectRefused(codec, referenceText(type), 1025);
  });

  test("refuses garbage", async () => {
    const codec = await codecs.load(type);
    expectRefused(codec, new Uint8Array(0), 512);
    expectRefused(codec, new Uint8Array(600), 512);
    expectRefused(codec, new Uint8Array(600).fill(0xff), 512);
    expectRefused(codec, random(600), 512);
    expectRefused(codec, text(600), 512);
  });

  test("a flipped bit gives E_CODEC or other bytes, and nothing worse", async () => {
    const codec = await codecs.load(type);
    const packed = referenceText(type);
    for (let bit = 0; bit < packed.length * 8; bit++) {
      const flipped = packed.slice();
      flipped[bit >>> 3]! ^= 1 << (bit & 7);
      try {
        codec.decompress(flipped, new Uint8Array(1024));
      } catch (error) {
        expect(error).toMatchObject({ code: "E_CODEC" });
      }
    }
    // And it works as before afterwards.
    const into = new Uint8Array(1024);
    codec.decompress(packed, into);
    expect(same(into, text(1024))).toBe(true);
  });
}

function testLimit(codecs: Codecs, type: CompressionType): void {
  test("compresses only what fits", async () => {
    const codec = await codecs.load(type);
    if (codec.compress === undefined) return;
    const data = text(65536);
    const packed = packedBy(codec, data, data.length);
    expect(packed).toBeDefined();
    expect(packed!.length).toBeLessThan(data.length / 2);
    expect(packedBy(codec, data, packed!.length - 1)).toBeUndefined();
    expect(same(packedBy(codec, data, packed!.length)!, packed!)).toBe(true);
    for (const room of [0, 1, 2]) expect(packedBy(codec, data, room)).toBeUndefined();
    expect(packedBy(codec, random(65536), 65535)).toBeUndefined();
  });

  test("takes a level, and refuses one that zlib does not have", async () => {
    const codec = await codecs.load(type);
    if (codec.compress === undefined) return;
    const data = text(65536);
    const fast = packedBy(codec, data, data.length, 1)!;
    const small = packedBy(codec, data, data.length, 9)!;
    expect(small.length).toBeLessThan(fast.length);
    for (const packed of [fast, small]) {
      const into = new Uint8Array(data.length);
      codec.decompress(packed, into);
      expect(same(into, data)).toBe(true);
    }
    // zstd takes any number and goes to the nearest level that it has.
    if (type === "zstd") return;
    expect(() => packedBy(codec, data, data.length, 1000)).toThrow(PlatterError);
  });
}

function testZstdFrames(codecs: Codecs): void {
  test("refuses a header that claims 2^60 bytes", async () => {
    const codec = await codecs.load("zstd");
    const data = text(512);
    expectRefused(codec, storedZstdFrame(data, 2n ** 60n), 512);
    expectRefused(codec, storedZstdFrame(data, 2n ** 64n - 3n), 512);
    // The same as a single segment, whose window is its content.
    const single = storedZstdFrame(data, 2n ** 60n);
    single[4] = 0xe0;
    single.copyWithin(5, 6);
    expectRefused(codec, single, 512);
  });

  test("refuses a header that claims too much or too little by one", async () => {
    const codec = await codecs.load("zstd");
    expectRefused(codec, storedZstdFrame(text(512), 513n), 512);
    expectRefused(codec, storedZstdFrame(text(512), 511n), 512);
  });

  test.each([28, 29, 31, 41])("refuses a window of 2^%d bytes", async (log) => {
    const codec = await codecs.load("zstd");
    const frame = storedZstdFrame(text(512));
    frame[5] = (log - 10) << 3;
    expectRefused(codec, frame, 512);
  });

  test("reads a cluster that is packed as several frames", async () => {
    const codec = await codecs.load("zstd");
    const data = text(4096);
    const parts = [data.subarray(0, 1000), data.subarray(0, 0), data.subarray(1000)];
    const frames = parts.map((part) => storedZstdFrame(part));
    const skippable = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
    const packed = concatenate([frames[0]!, skippable, frames[1]!, frames[2]!, text(100)]);
    const into = new Uint8Array(4096);
    codec.decompress(packed, into);
    expect(same(into, data)).toBe(true);
  });
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
