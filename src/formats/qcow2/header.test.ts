import { describe, expect, test } from "vitest";
import { PlatterError } from "../../errors.ts";
import { ExtensionType, decodeExtensions, encodeExtensions } from "./extensions.ts";
import { decodeFeatureNames, encodeFeatureNames } from "./features.ts";
import { decodeHeader, encodeHeader } from "./header.ts";

const ascii = (text: string): number[] => [...new TextEncoder().encode(text)];
const u32 = (value: number): number[] => [
  value >>> 24,
  (value >>> 16) & 255,
  (value >>> 8) & 255,
  value & 255,
];
const u64 = (value: number): number[] => [...u32(Math.floor(value / 2 ** 32)), ...u32(value >>> 0)];

/** A version 3 header of 4 KiB clusters, byte by byte in the specification's order. */
function sample(changes: Readonly<Record<number, readonly number[]>> = {}): Uint8Array {
  const bytes = new Uint8Array(4096);
  bytes.set([
    ...u32(0x514649fb),
    ...u32(3),
    ...u64(144), // backing file name
    ...u32(8),
    ...u32(12), // cluster_bits
    ...u64(2 ** 40), // size
    ...u32(0),
    ...u32(16), // l1_size
    ...u64(0x3000), // l1_table_offset
    ...u64(0x1000), // refcount_table_offset
    ...u32(1),
    ...u32(0), // snapshots
    ...u64(0),
    ...u64(0), // incompatible
    ...u64(1), // compatible: lazy refcounts
    ...u64(0), // autoclear
    ...u32(4), // refcount_order
    ...u32(112), // header_length
    ...u64(0),
    ...u32(0xe2792aca),
    ...u32(5),
    ...ascii("qcow2"),
    0,
    0,
    0,
    ...u32(0),
    ...u32(0),
    ...u64(0),
    ...ascii("base.img"),
  ]);
  for (const [at, value] of Object.entries(changes)) bytes.set(value, Number(at));
  return bytes;
}

function codeOf(task: () => unknown): string {
  try {
    task();
  } catch (error) {
    if (error instanceof PlatterError) return error.code;
    throw error;
  }
  return "none";
}

describe("decodeHeader", () => {
  test("reads each field from its place", () => {
    const header = decodeHeader(sample(), "file");
    expect(header.fields).toMatchObject({
      version: 3,
      cluster_bits: 12,
      size: 2n ** 40n,
      l1_size: 16,
      l1_table_offset: 0x3000n,
      refcount_table_offset: 0x1000n,
      refcount_table_clusters: 1,
      compatible_features: 1n,
      refcount_order: 4,
      header_length: 112,
      compression_type: 0,
    });
    expect(header.backingName).toBe("base.img");
    expect(header.extensions).toEqual([
      { type: 0xe2792aca, data: Uint8Array.from(ascii("qcow2")) },
    ]);
  });

  test("is written again as it was read, apart from where things are", () => {
    const again = decodeHeader(encodeHeader(decodeHeader(sample(), "file"), "file"), "file");
    const { backing_file_offset, ...fields } = decodeHeader(sample(), "file").fields;
    expect(again.fields).toMatchObject(fields);
    // 112 of header, 16 of backing format, 8 of end marker.
    expect([backing_file_offset, again.fields.backing_file_offset]).toEqual([144n, 136n]);
    expect(again.backingName).toBe("base.img");
  });

  test.each<[string, Record<number, number[]>, string]>([
    ["no magic", { 0: [0x50] }, "E_UNKNOWN_FORMAT"],
    ["version 4", { 4: u32(4) }, "E_UNSUPPORTED_FEATURE"],
    ["version 1", { 4: u32(1) }, "E_UNSUPPORTED_FEATURE"],
    ["clusters of 256", { 20: u32(8) }, "E_UNSUPPORTED_FEATURE"],
    ["clusters of 4 MiB", { 20: u32(22) }, "E_UNSUPPORTED_FEATURE"],
    ["a header of 103 bytes", { 100: u32(103) }, "E_CORRUPT"],
    ["a header longer than a cluster", { 100: u32(4104) }, "E_CORRUPT"],
    ["a refcount width of 128", { 96: u32(7) }, "E_UNSUPPORTED_FEATURE"],
    ["an unknown feature", { 72: u64(32) }, "E_UNSUPPORTED_FEATURE"],
    ["bit 63", { 72: [0x80] }, "E_UNSUPPORTED_FEATURE"],
    ["zstd without its bit", { 104: [1] }, "E_CORRUPT"],
    ["the bit without zstd", { 72: u64(8) }, "E_CORRUPT"],
    ["compression 2", { 72: u64(8), 104: [2] }, "E_UNSUPPORTED_FEATURE"],
    ["a name of 1024", { 16: u32(1024) }, "E_CORRUPT"],
    ["a name past its cluster", { 8: u64(4090), 16: u32(7) }, "E_CORRUPT"],
    ["a name elsewhere", { 8: u64(4097) }, "E_CORRUPT"],
    ["an extension that is too long", { 116: u32(5000) }, "E_CORRUPT"],
  ])("refuses %s", (_name, changes, code) => {
    expect(codeOf(() => decodeHeader(sample(changes), "file"))).toBe(code);
  });

  test("version 2 implies the rest", () => {
    const { fields } = decodeHeader(sample({ 4: u32(2), 8: u64(0), 72: u64(0) }), "file");
    expect(fields).toMatchObject({ refcount_order: 4, header_length: 72, compression_type: 0 });
    expect(fields.compatible_features).toBe(0n);
  });

  test("names an unknown feature as the image does", () => {
    const names = [0, 5, ...ascii("time travel"), ...Array.from({ length: 35 }, () => 0)];
    const changes = {
      8: u64(0),
      72: u64(0x60),
      112: [...u32(0x6803f857), ...u32(48), ...names, ...u32(0), ...u32(0)],
    };
    expect(() => decodeHeader(sample(changes), "file")).toThrow(
      /time travel, Unknown incompatible feature: 40/,
    );
  });
});

describe("extensions", () => {
  const data = (length: number): Uint8Array => new Uint8Array(length).fill(7);

  test("are padded to eight bytes and ended", () => {
    expect(encodeExtensions([{ type: 0x1234, data: data(3) }])).toEqual(
      Uint8Array.from([...u32(0x1234), ...u32(3), 7, 7, 7, 0, 0, 0, 0, 0, ...u64(0)]),
    );
    expect(encodeExtensions([])).toEqual(new Uint8Array(8));
  });

  test("unknown ones are kept, after those that QEMU orders", () => {
    const extensions = [
      { type: 0x1234, data: data(8) },
      { type: ExtensionType.featureNames, data: data(48) },
      { type: ExtensionType.backingFormat, data: data(3) },
    ];
    const bytes = encodeExtensions(extensions);
    const types = decodeExtensions(bytes, 0, bytes.length, "file").map(({ type }) => type);
    expect(types).toEqual([0xe2792aca, 0x6803f857, 0x1234]);
  });

  test("may reach exactly to the end, and no further", () => {
    const bytes = Uint8Array.from([...u32(5), ...u32(8), ...data(8)]);
    expect(decodeExtensions(bytes, 0, 16, "file")).toHaveLength(1);
    expect(codeOf(() => decodeExtensions(bytes, 0, 15, "file"))).toBe("E_CORRUPT");
    const huge = Uint8Array.from([...u32(5), ...u32(0xffff_fff8), ...data(8)]);
    expect(codeOf(() => decodeExtensions(huge, 0, 16, "file"))).toBe("E_CORRUPT");
  });
});

test("feature names are 48 bytes each: kind, bit, name", () => {
  const long = "x".repeat(46);
  const bytes = encodeFeatureNames([
    { kind: 1, bit: 0, name: "lazy refcounts" },
    { kind: 0, bit: 63, name: long },
  ]);
  expect(bytes).toHaveLength(96);
  expect([...bytes.subarray(0, 4)]).toEqual([1, 0, ...ascii("la")]);
  expect(decodeFeatureNames(bytes)).toEqual([
    { kind: 1, bit: 0, name: "lazy refcounts" },
    { kind: 0, bit: 63, name: long },
  ]);
  expect(decodeFeatureNames(bytes.subarray(0, 95))).toHaveLength(1);
  bytes[0] = 3;
  expect(decodeFeatureNames(bytes)).toHaveLength(1);
});
