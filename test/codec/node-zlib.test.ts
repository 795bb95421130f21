/** Streams of the portable codecs and of `node:zlib`, each read by the other. */
import { deflateRawSync, inflateRawSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { portableCodecs } from "../../src/codec/index.ts";
import { clusterSizes, contents, packedBy, same } from "../../src/codec/codecs.test-kit.ts";

const junk = new Uint8Array(300).fill(0xc3);

describe.each(clusterSizes)("clusters of %d bytes", (size) => {
  test("node:zlib inflates ours with a window of 4 KiB", async () => {
    const zlib = await portableCodecs.load("zlib");
    for (const [kind, make] of Object.entries(contents)) {
      const data = make(size);
      for (const level of size > 65536 ? [undefined] : [undefined, 0, 1, 9]) {
        const packed = packedBy(zlib, data, undefined, level)!;
        const back = inflateRawSync(packed, { windowBits: 12 });
        expect(same(back, data), `${kind}, level ${level}`).toBe(true);
      }
    }
  });

  test("ours inflates node:zlib's with either window", async () => {
    const zlib = await portableCodecs.load("zlib");
    for (const [kind, make] of Object.entries(contents)) {
      const data = make(size);
      for (const windowBits of [12, 15]) {
        const packed = Buffer.concat([deflateRawSync(data, { windowBits, memLevel: 9 }), junk]);
        const into = new Uint8Array(size);
        zlib.decompress(packed, into);
        expect(same(into, data), `${kind}, window ${windowBits}`).toBe(true);
      }
    }
  });

  test.skipIf(typeof zstdCompressSync !== "function")("ours decodes node:zlib's zstd", async () => {
    const zstd = await portableCodecs.load("zstd");
    for (const [kind, make] of Object.entries(contents)) {
      const data = make(size);
      const packed = Buffer.concat([zstdCompressSync(data), junk]);
      const into = new Uint8Array(size);
      zstd.decompress(packed, into);
      expect(same(into, data), kind).toBe(true);
    }
  });
});
