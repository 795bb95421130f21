import { beforeEach, describe, expect, test } from "vitest";
import { portableCodecs } from "../codec/index.ts";
import type { Disk, FileReference } from "../disk/index.ts";
import { MemoryStorage, type Storage } from "../storage/index.ts";
import type { FormatOptionValues } from "./format.ts";
import { expectEqual } from "./expectations.test-kit.ts";
import { JitterStorage } from "./jitter.test-kit.ts";
import { openDisk, type DiskOptions } from "./open.ts";
import { qcow2 } from "./qcow2/index.ts";

const KiB = 1024;
const size = 1024 * KiB;
/** Where the first L2 table is in an image with clusters of 64 KiB. */
const l2Table = 4 * 64 * KiB;

/** Survives being closed, and counts what is asked of it. */
class Kept extends JitterStorage {
  closed = 0;
  constructor(inner: MemoryStorage) {
    super(inner, 0);
  }
  override close(): Promise<void> {
    this.closed++;
    return Promise.resolve();
  }
}

let image: MemoryStorage;
let data: MemoryStorage;
let dataFile: Kept;

beforeEach(() => {
  image = new MemoryStorage({ name: "image" });
  data = new MemoryStorage({ name: "data" });
  dataFile = new Kept(data);
});

async function create(
  values: FormatOptionValues = {},
  backing?: { name: string; format: string },
): Promise<void> {
  const made = await qcow2.create!(image, {
    size,
    values: { data_file: "data", ...values },
    backing,
    dataStorage: dataFile,
  });
  await made.finish({ durable: false });
  await made.image.close();
}

const open = (options: DiskOptions = {}): Promise<Disk> =>
  openDisk(new Kept(image), {
    codecs: portableCodecs,
    references: () => Promise.resolve(dataFile),
    ...options,
  });

const writable = (): Promise<Disk> => open({ writable: true });

/** Sets the L2 entry of guest cluster `index`. */
const patch = (index: number, entry: bigint): Promise<void> => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, entry);
  return image.write(l2Table + index * 8, bytes);
};

/** An L2 entry as it is in the file. */
const entryOf = (index: number): bigint =>
  new DataView(image.toBytes().buffer).getBigUint64(l2Table + index * 8);

const copied = 1n << 63n;

describe("the policy", () => {
  test("denies a data file, unless told otherwise", async () => {
    await create();
    await expect(open({ references: "deny" })).rejects.toMatchObject({
      code: "E_REFERENCE_DENIED",
      details: { field: "data file", value: "data" },
    });
    expect(dataFile.closed).toBe(0);
  });

  test("is asked once, with what is going to be done", async () => {
    await create();
    const asked: FileReference[] = [];
    const references = (reference: FileReference): Promise<Storage> => {
      asked.push(reference);
      return Promise.resolve(dataFile);
    };
    await (await open({ references })).close();
    await (await open({ references, writable: true })).close();
    expect(asked).toEqual([
      { kind: "data-file", name: "data", writable: false },
      { kind: "data-file", name: "data", writable: true },
    ]);
    expect(dataFile.closed).toBe(2);
  });

  test("says of backing files that they are backing files", async () => {
    await create({}, { name: "base", format: "raw" });
    const asked: FileReference[] = [];
    const disk = await open({
      writable: true,
      references: (reference) => {
        asked.push(reference);
        return Promise.resolve(
          reference.kind === "backing" ? new MemoryStorage({ name: "base" }) : dataFile,
        );
      },
    });
    await disk.close();
    expect(asked.map(({ kind, writable: isWritten }) => [kind, isWritten])).toEqual([
      ["data-file", true],
      ["backing", false],
    ]);
  });

  test("ignoring lets the structure be seen, and no data", async () => {
    await create();
    const writer = await writable();
    await writer.write(0, new Uint8Array(64 * KiB).fill(1));
    await writer.close();
    const disk = await open({ references: "ignore" });
    expect(await disk.image.check!({})).toMatchObject({ corruptions: 0, allocatedClusters: 1 });
    expect(disk.image.details).toMatchObject({ "data-file": "data", "data-file-raw": false });
    const zeros = new Uint8Array(512).fill(9);
    await disk.read(512 * KiB, zeros);
    expect(zeros.every((byte) => byte === 0)).toBe(true);
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({
      code: "E_REFERENCE_DENIED",
    });
    await disk.close();
  });

  test("leaving out the backing image leaves the data file in", async () => {
    await create({}, { name: "base", format: "raw" });
    const disk = await open({ alone: true, writable: true });
    await disk.write(0, new Uint8Array(512).fill(7));
    await disk.close();
    expect(data.toBytes()[0]).toBe(7);
  });

  test("closes the data file when opening fails later", async () => {
    await create({}, { name: "base", format: "raw" });
    const references = ({ kind }: FileReference): Promise<Storage> =>
      kind === "backing" ? Promise.reject(new Error("no")) : Promise.resolve(dataFile);
    await expect(open({ references })).rejects.toThrow("no");
    expect(dataFile.closed).toBe(1);
  });
});

describe("what is refused", () => {
  test("an image without the file's name", async () => {
    await create();
    const bytes = image.toBytes();
    // "DATA", the type of the header extension.
    const at = bytes.findIndex((_, i) => new DataView(bytes.buffer).getUint32(i) === 0x4441_5441);
    await image.write(at, new Uint8Array([0, 0, 0, 1]));
    await expect(open()).rejects.toMatchObject({
      code: "E_CORRUPT",
      details: { qemu: "'data-file' is required for this image" },
    });
    const disk = await open({ references: "ignore" });
    expect(disk.image.details).not.toHaveProperty("data-file");
    expect(disk.image.details).toHaveProperty("data-file-raw", false);
  });

  test("the mark of a raw data file without one", async () => {
    const made = await qcow2.create!(image, { size });
    await made.finish({ durable: false });
    await image.write(95, new Uint8Array([2]));
    await expect(open()).rejects.toMatchObject({
      code: "E_CORRUPT",
      details: { qemu: "data-file-raw requires a data file" },
    });
  });

  test("the image as its own data file", async () => {
    await create();
    const same = new Kept(image);
    await expect(openDisk(same, { references: () => Promise.resolve(same) })).rejects.toMatchObject(
      { code: "E_CHAIN_LOOP", details: { field: "data file" } },
    );
  });

  test("the data file as the backing image", async () => {
    await create({}, { name: "base", format: "raw" });
    await expect(open()).rejects.toMatchObject({ code: "E_CHAIN_LOOP" });
  });

  test("a data file that cannot be written, for writing", async () => {
    await create();
    const readOnly: Storage = {
      name: "data",
      size,
      read: (at, into) => data.read(at, into),
      close: () => Promise.resolve(),
    };
    const references = () => Promise.resolve(readOnly);
    await expect(open({ writable: true, references })).rejects.toMatchObject({
      code: "E_READ_ONLY",
      details: { file: "data" },
    });
  });

  test("data after the end of the data file, when it is read", async () => {
    await create({ preallocation: "metadata" });
    await data.truncate(100 * KiB);
    const disk = await open();
    await disk.read(0, new Uint8Array(64 * KiB));
    await expect(disk.read(64 * KiB, new Uint8Array(64 * KiB))).rejects.toMatchObject({
      code: "E_TRUNCATED",
      details: { file: "data" },
    });
  });

  test("compressed writes", async () => {
    await create();
    const disk = await writable();
    await expect(disk.writeCompressed(0, new Uint8Array(64 * KiB))).rejects.toMatchObject({
      code: "E_UNSUPPORTED",
    });
    await disk.close();
  });

  test.each([
    ["compressed clusters", 1, 0x4000_0000_0001_0200n, "Compressed cluster entry found"],
    ["data at another place", 1, copied | 0x5_0000n, "offset 0x50000 does not match guest cluster"],
    ["data at offset 0 that is not there", 1, copied, "offset 0 does not match guest cluster"],
    ["places of zeros elsewhere", 2, copied | 0x5_0001n, "does not match guest cluster"],
    ["unaligned data", 1, copied | 0x1_0200n, "unaligned"],
  ])("%s", async (_what, index, entry, words) => {
    for (const access of ["read", "write"] as const) {
      await create({ preallocation: "metadata" });
      await patch(index, entry);
      const disk = await writable();
      const at = index * 64 * KiB;
      await expect(disk[access](at, new Uint8Array(512))).rejects.toMatchObject({
        code: "E_CORRUPT",
        message: expect.stringContaining(words),
        details: { qemu: "Input/output error" },
      });
      await expect(disk.write(at, new Uint8Array(512))).rejects.toMatchObject({
        code: "E_CORRUPT_BIT",
      });
    }
  });

  test.each<[FormatOptionValues, string]>([
    [{ data_file_raw: true, compat: "v2" }, "External data files are only supported with"],
    [{ keep_data_file: true }, "keep_data_file requires data_file_raw"],
    [
      { keep_data_file: true, data_file_raw: true, extended_l2: true },
      "keep_data_file requires data_file_raw",
    ],
  ])("creating with %j", async (values, words) => {
    await expect(create(values)).rejects.toMatchObject({
      code: "E_INVALID_ARGUMENT",
      details: { qemu: expect.stringContaining(words) },
    });
  });

  test("creating without a storage for the data", async () => {
    await expect(
      qcow2.create!(image, { size, values: { data_file: "data" } }),
    ).rejects.toMatchObject({ code: "E_INVALID_ARGUMENT", details: { field: "data_file" } });
  });
});

describe("data", () => {
  test("lies where the guest has it, and has no refcounts", async () => {
    await create();
    const before = image.size;
    const disk = await writable();
    await disk.write(300 * KiB, new Uint8Array(100 * KiB).fill(5));
    await disk.write(0, new Uint8Array(64 * KiB).fill(6));
    await disk.close();
    expect(data.toBytes()[300 * KiB]).toBe(5);
    expect(data.toBytes()[0]).toBe(6);
    expect(entryOf(0)).toBe(copied);
    expect(entryOf(4)).toBe(copied | BigInt(4 * 64 * KiB));
    // One L2 table has been added.
    expect(image.size).toBeLessThanOrEqual(before + 2 * 64 * KiB);
    const reader = await open();
    const found = new Uint8Array(size);
    await reader.read(0, found);
    expectEqual(found, data.toBytes().subarray(0, size), 0);
    expect(await reader.image.check!({})).toMatchObject({
      corruptions: 0,
      leaks: 0,
      allocatedClusters: 4,
    });
  });

  test("extents name the data file", async () => {
    await create();
    const disk = await writable();
    await disk.write(64 * KiB, new Uint8Array(64 * KiB).fill(1));
    const found = [];
    for await (const extent of disk.extents()) found.push(extent);
    expect(found.map(({ storage, offset }) => [storage.name, offset])).toEqual([
      ["data", undefined],
      ["data", 64 * KiB],
      ["data", undefined],
    ]);
    await disk.close();
  });

  test("is written again in the same place at once, after a discard", async () => {
    await create();
    const disk = await writable();
    await disk.write(0, new Uint8Array(128 * KiB).fill(1));
    await disk.flush();
    await disk.discard(0, 128 * KiB);
    expect(
      data
        .toBytes()
        .subarray(0, 128 * KiB)
        .every((byte) => byte === 0),
    ).toBe(true);
    await disk.write(64 * KiB, new Uint8Array(64 * KiB).fill(2));
    await disk.close();
    expect(data.toBytes()[64 * KiB]).toBe(2);
    expect([entryOf(0), entryOf(1)]).toEqual([1n, copied | 0x1_0000n]);
  });

  test("of zeros that keep their place stays in a plain data file, and goes from a raw one", async () => {
    for (const raw of [false, true]) {
      image = new MemoryStorage({ name: "image" });
      await data.truncate(0);
      await create({ data_file_raw: raw });
      const disk = await writable();
      await disk.write(0, new Uint8Array(256 * KiB).fill(3));
      await disk.writeZeroes(64 * KiB, 64 * KiB, { unmap: false });
      await disk.close();
      expect(data.toBytes()[64 * KiB], `raw ${raw}`).toBe(raw ? 0 : 3);
      expect(entryOf(1)).toBe(copied | 0x1_0001n);
    }
  });

  test("is all mapped in a raw data file, also after growing", async () => {
    await create({ data_file_raw: true });
    expect(new DataView(image.toBytes().buffer).getBigUint64(88)).toBe(2n);
    const disk = await writable();
    await disk.resize(2 * size);
    await disk.close();
    expect(data.size).toBe(2 * size);
    const bytes = data.toBytes();
    bytes.fill(8, size);
    await data.write(0, bytes);
    const reader = await open();
    const found = new Uint8Array(2 * size);
    await reader.read(0, found);
    expectEqual(found, bytes, 0);
    // Writing does not take the mark away.
    expect(new DataView(image.toBytes().buffer).getBigUint64(88)).toBe(2n);
  });

  test("that is kept is the disk of the new image", async () => {
    await data.write(0, new Uint8Array(size + 5000).fill(4));
    await create({ data_file_raw: true, keep_data_file: true });
    expect(data.size).toBe(size + 5000);
    const disk = await open();
    const found = new Uint8Array(size);
    await disk.read(0, found);
    expect(found.every((byte) => byte === 4)).toBe(true);
  });

  test("is made to fit when the disk is resized", async () => {
    await create();
    const disk = await writable();
    await disk.write(0, new Uint8Array(size).fill(1));
    await disk.resize(300 * KiB);
    expect(data.size).toBe(300 * KiB);
    await disk.resize(size);
    expect(data.size).toBe(size);
    const found = new Uint8Array(size);
    await disk.read(0, found);
    expect(found.subarray(0, 300 * KiB).every((byte) => byte === 1)).toBe(true);
    expect(found.subarray(300 * KiB).every((byte) => byte === 0)).toBe(true);
    await disk.close();
  });
});

test("data is on stable storage before the metadata that shows it", async () => {
  await create();
  const log: string[] = [];
  class Logged extends Kept {
    readonly label: string;
    constructor(inner: MemoryStorage, label: string) {
      super(inner);
      this.label = label;
    }
    protected override async around<T>(
      call: Parameters<JitterStorage["around"]>[0],
      run: () => Promise<T>,
    ): Promise<T> {
      if (call.kind === "flush") log.push(`flush ${this.label}`);
      if (call.kind === "write") {
        const isL2 = this.label === "image" && call.offset >= l2Table;
        log.push(`write ${this.label}${isL2 ? " L2" : ""}`);
      }
      return run();
    }
  }
  const disk = await openDisk(new Logged(image, "image"), {
    writable: true,
    references: () => Promise.resolve(new Logged(data, "data")),
  });
  await disk.write(0, new Uint8Array(64 * KiB).fill(1));
  await disk.flush();
  log.length = 0;
  await disk.write(64 * KiB, new Uint8Array(64 * KiB).fill(1));
  await disk.flush();
  const entry = log.indexOf("write image L2");
  expect(log.indexOf("write data")).toBe(0);
  expect(log.indexOf("flush data")).toBeLessThan(entry);
  expect(log.lastIndexOf("flush image")).toBeGreaterThan(entry);
  await disk.close();
});
