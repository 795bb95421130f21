import { Deflate, Z_SYNC_FLUSH } from "pako";
import { expect, test } from "vitest";
import { packedBy, random, same, text } from "./codecs.test-kit.ts";
import { portableZlib } from "./zlib.ts";

/** `data` as raw deflate with the largest window and without the mark that ends a stream. */
function withoutEnd(data: Uint8Array): Uint8Array {
  const deflate = new Deflate({ raw: true, windowBits: 15 });
  const parts: Uint8Array[] = [];
  deflate.onData = (part) => void parts.push(part);
  deflate.push(data, Z_SYNC_FLUSH);
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

test("accepts complete data whose end mark is cut off, as QEMU does", () => {
  const packed = withoutEnd(text(4096));
  const into = new Uint8Array(4096);
  portableZlib.decompress(packed, into);
  expect(same(into, text(4096))).toBe(true);
  for (const length of [4097]) {
    expect(() => portableZlib.decompress(packed, new Uint8Array(length))).toThrow(
      expect.objectContaining({ code: "E_CODEC" }),
    );
  }
});

test("reads streams that look back further than QEMU's writer does", () => {
  // 16 KiB of noise twice: the second can only be packed by looking back 16 KiB.
  const data = new Uint8Array(32768);
  data.set(random(16384));
  data.set(random(16384), 16384);
  const packed = withoutEnd(data);
  expect(packed.length).toBeLessThan(20000);
  const into = new Uint8Array(data.length);
  portableZlib.decompress(packed, into);
  expect(same(into, data)).toBe(true);
  // Ours looks back 4 KiB only, so that every reader of qcow2 can read it.
  expect(packedBy(portableZlib, data)!.length).toBeGreaterThan(32000);
});

test("says how far a short stream goes", () => {
  const packed = packedBy(portableZlib, text(100))!;
  expect(() => portableZlib.decompress(packed, new Uint8Array(512))).toThrow(
    /ends after 100 of 512 bytes/,
  );
});

test("a level is checked before anything is packed", () => {
  for (const level of [-2, 10]) {
    expect(() => packedBy(portableZlib, text(512), 512, level)).toThrow(
      expect.objectContaining({ code: "E_INVALID_ARGUMENT" }),
    );
  }
});
