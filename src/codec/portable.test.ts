import { expect, test } from "vitest";
import { storedZstdFrame, testCodecs, text } from "./codecs.test-kit.ts";
import { portableCodecs } from "./portable.ts";

testCodecs("portableCodecs", portableCodecs);

test("zstd only reads", async () => {
  expect((await portableCodecs.load("zstd")).compress).toBeUndefined();
  expect((await portableCodecs.load("zlib")).compress).toBeDefined();
});

test("a zstd frame is judged by its header before it is decoded", async () => {
  const zstd = await portableCodecs.load("zstd");
  const into = new Uint8Array(512).fill(7);
  const decompress = (frame: Uint8Array): void => zstd.decompress(frame, into);
  expect(() => decompress(storedZstdFrame(text(512), 2n ** 60n))).toThrow(/more than 512 bytes/);
  const dictionary = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x01, 0, 5, 0x0b, 0, 0, 1);
  expect(() => decompress(dictionary)).toThrow(/dictionary 5/);
  expect(into.every((byte) => byte === 7)).toBe(true);
});
