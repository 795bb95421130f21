import { describe, expect, test } from "vitest";
import { PlatterError } from "../errors.ts";
import { referenceText, storedZstdFrame, text } from "./codecs.test-kit.ts";
import { readZstdFrame } from "./zstd-frame.ts";

const magic = [0x28, 0xb5, 0x2f, 0xfd];

/** Three bytes of a block header (RFC 8878, section 3.1.1.2). */
function block(last: boolean, type: number, size: number): number[] {
  const header = (size << 3) | (type << 1) | (last ? 1 : 0);
  return [header & 255, (header >>> 8) & 255, header >>> 16];
}

const lastEmpty = block(true, 0, 0);

describe("readZstdFrame", () => {
  test("finds the end of what the reference implementation packed", () => {
    const packed = referenceText("zstd");
    const padded = new Uint8Array(packed.length + 100).fill(0x5a);
    padded.set(packed, 31);
    expect(readZstdFrame(padded, 31)).toEqual({
      length: packed.length,
      skippable: false,
      contentSize: 1024,
      windowSize: 1024,
      dictionaryId: 0,
      empty: false,
    });
  });

  test("follows stored blocks of up to 128 KiB", () => {
    const frame = storedZstdFrame(text(300_000));
    expect(readZstdFrame(frame)).toMatchObject({ length: frame.length, contentSize: 300_000 });
  });

  test.each([
    // Descriptor and what follows it, content size, window.
    [[0x00, 0x00], undefined, 1024],
    [[0x00, 0x09], undefined, 2048 + 256],
    [[0x00, 0xff], undefined, 2 ** 41 + 7 * 2 ** 38],
    [[0x20, 200], 200, 200],
    [[0x40, 0x00, 0x00, 0x00], 256, 1024],
    [[0x60, 0xff, 0xff], 65535 + 256, 65535 + 256],
    [[0xa0, 1, 2, 3, 4], 0x04030201, 0x04030201],
    [[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10], 2 ** 60, 2 ** 60],
  ])("header %j", (header, contentSize, windowSize) => {
    const bytes = Uint8Array.from([...magic, ...header, ...lastEmpty]);
    expect(readZstdFrame(bytes)).toEqual({
      length: bytes.length,
      skippable: false,
      contentSize,
      windowSize,
      dictionaryId: 0,
      empty: true,
    });
  });

  test.each([
    [1, [7], 7],
    [2, [1, 2], 0x0201],
    [3, [1, 2, 3, 0xff], 0xff030201],
  ])("dictionary flag %d", (flag, bytes, dictionaryId) => {
    const frame = Uint8Array.from([...magic, flag, 0, ...bytes, ...lastEmpty]);
    expect(readZstdFrame(frame)).toMatchObject({ length: frame.length, dictionaryId });
  });

  test("counts the checksum", () => {
    const frame = Uint8Array.from([...magic, 0x04, 0, ...lastEmpty, 1, 2, 3, 4]);
    expect(readZstdFrame(frame).length).toBe(frame.length);
    expect(() => readZstdFrame(frame.subarray(0, -1))).toThrow(PlatterError);
  });

  test("a repeated byte is stored once", () => {
    const repeated = block(false, 1, 100_000);
    const frame = Uint8Array.from([...magic, 0x00, 7 << 3, ...repeated, 0xaa, ...lastEmpty]);
    expect(readZstdFrame(frame)).toMatchObject({ length: frame.length, empty: false });
  });

  test("takes a frame that is to be skipped", () => {
    for (let low = 0; low < 16; low++) {
      const frame = Uint8Array.of(0x50 | low, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9, 9);
      expect(readZstdFrame(frame)).toMatchObject({ length: 10, skippable: true, empty: true });
    }
    const long = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, 9);
    expect(() => readZstdFrame(long)).toThrow(/4294967295 bytes/);
  });

  test.each([
    ["another magic number", [0x28, 0xb5, 0x2f, 0xfc, 0, 0, ...lastEmpty], "Magic_Number"],
    ["the reserved bit", [...magic, 0x08, 0, ...lastEmpty], "Frame_Header_Descriptor"],
    ["the reserved block type", [...magic, 0, 0, ...block(true, 3, 0)], "Block_Type"],
    ["a block larger than the window", [...magic, 0, 0, ...block(true, 1, 1025), 0], "Block_Size"],
    [
      "a block larger than 128 KiB",
      [...magic, 0, 0xf0, ...block(true, 1, 131_073), 0],
      "Block_Size",
    ],
  ])("refuses %s", (_, bytes, field) => {
    expect(() => readZstdFrame(Uint8Array.from(bytes))).toThrow(
      expect.objectContaining({ code: "E_CODEC", details: expect.objectContaining({ field }) }),
    );
  });

  test("refuses every cut", () => {
    const frame = referenceText("zstd");
    for (let length = 0; length < frame.length; length++) {
      expect(() => readZstdFrame(frame.subarray(0, length))).toThrow(
        expect.objectContaining({ code: "E_CODEC" }),
      );
    }
  });
});
