import { deflateRawSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Codec, CompressionType } from "../codec/index.ts";
import { nodeCodecs } from "./codecs.ts";

const size = 65536;
/** Numbered lines, of which a part comes again. */
const text = new TextEncoder()
  .encode(Array.from({ length: 5000 }, (_, i) => `line ${i * i} of the table\n`).join(""))
  .slice(0, size);
/** Numbers without a pattern that a compressor could use. */
const noise = new Uint8Array(size);
let state = 1;
for (let i = 0; i < size; i++) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  noise[i] = state >>> 24;
}

const join = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

function compressed(codec: Codec, data: Uint8Array, room: number): Uint8Array | undefined {
  const into = new Uint8Array(room);
  const length = codec.compress?.(data, into);
  return length === undefined ? undefined : into.subarray(0, length);
}

describe.each<CompressionType>(["zlib", "zstd"])("%s", (type) => {
  const packed = (data: Uint8Array): Uint8Array =>
    new Uint8Array(
      type === "zlib" ? deflateRawSync(data, { windowBits: 15 }) : zstdCompressSync(data),
    );

  test("gives back what it packed, also with sector padding behind it", async () => {
    const codec = await nodeCodecs.load(type);
    const small = compressed(codec, text, size - 1);
    if (small === undefined) throw new Error("not compressed");
    expect(small.length).toBeLessThan(size);
    const into = new Uint8Array(size);
    codec.decompress(join(small, noise.subarray(0, 400)), into);
    expect(into).toEqual(text);
  });

  test("reads what others wrote with other parameters", async () => {
    const codec = await nodeCodecs.load(type);
    const into = new Uint8Array(size);
    codec.decompress(packed(text), into);
    expect(into).toEqual(text);
  });

  test("declines what does not fit", async () => {
    const codec = await nodeCodecs.load(type);
    expect(compressed(codec, noise, size - 1)).toBeUndefined();
    const small = compressed(codec, text, size - 1);
    expect(compressed(codec, text, small!.length - 1)).toBeUndefined();
    expect(compressed(codec, text, small!.length)).toEqual(small);
    expect(compressed(codec, text, 0)).toBeUndefined();
  });

  test("works on the smallest cluster", async () => {
    const codec = await nodeCodecs.load(type);
    const into = new Uint8Array(512).fill(7);
    codec.decompress(packed(new Uint8Array(512)), into);
    expect(into).toEqual(new Uint8Array(512));
  });

  test.each([
    ["too short", packed(text.subarray(0, size - 1))],
    ["cut off", packed(text).subarray(0, 1000)],
    ["not a stream at all", noise],
    ["nothing", new Uint8Array(0)],
  ])("refuses what is %s", async (_, bytes) => {
    const codec = await nodeCodecs.load(type);
    expect(() => codec.decompress(bytes, new Uint8Array(size))).toThrow(
      expect.objectContaining({ code: "E_CODEC" }),
    );
  });
});

test("a zstd frame that holds more than the cluster is refused at the limit, not after it", async () => {
  const codec = await nodeCodecs.load("zstd");
  const bomb = zstdCompressSync(new Uint8Array(size * 1000));
  expect(() => codec.decompress(bomb, new Uint8Array(size))).toThrow(
    expect.objectContaining({ code: "E_CODEC" }),
  );
});

test("of a zlib stream that goes on after the cluster, the cluster is taken, as QEMU does", async () => {
  const codec = await nodeCodecs.load("zlib");
  const into = new Uint8Array(size).fill(1);
  codec.decompress(deflateRawSync(new Uint8Array(size * 1000)), into);
  expect(into).toEqual(new Uint8Array(size));
});

test("the next cluster's frame in the last sector is left alone", async () => {
  const codec = await nodeCodecs.load("zstd");
  const one = compressed(codec, text, size - 1)!;
  const into = new Uint8Array(size);
  codec.decompress(join(one, one), into);
  expect(into).toEqual(text);
});

test("a zstd frame that lies about its content's size is refused without reserving it", async () => {
  const codec = await nodeCodecs.load("zstd");
  // Magic; descriptor: 8-byte content size, one segment; the size: 2^40; no blocks.
  const frame = new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]);
  const before = process.memoryUsage().rss;
  expect(() => codec.decompress(frame, new Uint8Array(size))).toThrow(
    expect.objectContaining({ code: "E_CODEC" }),
  );
  expect(process.memoryUsage().rss - before).toBeLessThan(512 * 2 ** 20);
});
