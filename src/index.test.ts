/** The library as its users meet it: nothing here but what `platter-img` exports. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import {
  Kind,
  MemoryStorage,
  PlatterError,
  check,
  compare,
  convert,
  create,
  errorCodes,
  formats,
  host,
  info,
  map,
  open,
  type Disk,
  type ErrorCode,
  type Extent,
  type Format,
  type Image,
  type Storage,
} from "./index.ts";

const root = mkdtempSync(join(tmpdir(), "platter-library-"));
afterAll(() => rmSync(root, { recursive: true }));

const KiB = 1024;
const MiB = 1024 * KiB;

let directory: string;
let count = 0;
beforeEach(async () => {
  directory = join(root, String(count++));
  await mkdir(directory);
});
const path = (name: string): string => join(directory, name);

/** The code of the PlatterError that `task` ends with; fails when it ends otherwise. */
async function codeOf(task: Promise<unknown> | (() => Promise<unknown>)): Promise<ErrorCode> {
  try {
    await (typeof task === "function" ? task() : task);
  } catch (error) {
    expect(error).toBeInstanceOf(PlatterError);
    const { code, message } = error as PlatterError;
    expect(errorCodes).toHaveProperty(code);
    expect(message.split("\n")).toHaveLength(1);
    return code;
  }
  throw new Error("it was expected to fail");
}

async function newImage(name = "disk.qcow2", size = 8 * MiB): Promise<string> {
  await create({ name: path(name), format: "qcow2", size });
  return path(name);
}

async function read(disk: Disk, at: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await disk.read(at, bytes);
  return bytes;
}

async function all(extents: AsyncIterable<Extent>): Promise<Array<Omit<Extent, "storage">>> {
  const found = [];
  for await (const { storage, ...extent } of extents) {
    expect(storage.name).not.toBe("");
    found.push(extent);
  }
  return found;
}

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("a disk in a file", () => {
  test("is created, written, read back, and is sound when opened again", async () => {
    const name = await newImage();
    const data = randomBytes(200 * KiB);
    {
      await using disk = await open(name, { writable: true });
      expect(disk.size).toBe(8 * MiB);
      expect(disk.name).toBe(name);
      // Neither end lies on a cluster, a sector, or anything else.
      await disk.write(100_001, data);
      await disk.flush();
      expect(await read(disk, 100_001, data.length)).toEqual(new Uint8Array(data));
    }
    await using again = await open(name);
    expect(await read(again, 100_001, data.length)).toEqual(new Uint8Array(data));
    expect(await read(again, 100_000, 1)).toEqual(filled(1, 0));
    expect(await read(again, 100_001 + data.length, 1)).toEqual(filled(1, 0));
    const { corruptions, leaks, checkErrors } = await check({ name });
    expect({ corruptions, leaks, checkErrors }).toEqual({
      corruptions: 0,
      leaks: 0,
      checkErrors: 0,
    });
  });

  test("zeroes and discards: contents go, and so does the space", async () => {
    const name = await newImage();
    await using disk = await open(name, { writable: true });
    await disk.write(0, filled(4 * MiB, 0xaa));
    await disk.flush();
    await disk.writeZeroes(MiB + 5, MiB);
    expect(await read(disk, MiB + 4, 1)).toEqual(filled(1, 0xaa));
    expect(await read(disk, MiB + 5, MiB)).toEqual(filled(MiB, 0));
    expect(await read(disk, 2 * MiB + 5, 1)).toEqual(filled(1, 0xaa));
    await disk.discard(2 * MiB + 64 * KiB, 2 * MiB - 64 * KiB);
    expect(await read(disk, 2 * MiB + 64 * KiB, 2 * MiB - 64 * KiB)).toEqual(
      filled(2 * MiB - 64 * KiB, 0),
    );
    let stored = 0;
    for await (const extent of disk.extents()) if (extent.data) stored += extent.length;
    // The first MiB, what is left of the two clusters that the zeroes cut through, one cluster more.
    expect(stored).toBe(MiB + 2 * 64 * KiB);
    await disk.flush();
    const [{ allocatedSize } = {}] = await info({ name, shared: true });
    expect(allocatedSize).toBeLessThan(2 * MiB);
  });

  test("grows and shrinks", async () => {
    const name = await newImage("disk.qcow2", MiB);
    await using disk = await open(name, { writable: true });
    await disk.write(0, filled(MiB, 1));
    await disk.resize(3 * MiB);
    expect(disk.size).toBe(3 * MiB);
    expect(await read(disk, MiB, 2 * MiB)).toEqual(filled(2 * MiB, 0));
    await disk.write(3 * MiB - 3, filled(3, 2));
    await disk.resize(512 * KiB);
    expect(await codeOf(disk.read(512 * KiB, filled(1, 0)))).toBe("E_OUT_OF_RANGE");
    await disk.resize(MiB);
    // What was cut off is gone, and does not come back.
    expect(await read(disk, 512 * KiB, 512 * KiB)).toEqual(filled(512 * KiB, 0));
    expect(await codeOf(disk.resize(1000))).toBe("E_INVALID_SIZE");
    expect(await codeOf(disk.resize(-512))).toBe("E_INVALID_SIZE");
    expect(await codeOf(disk.resize(Number.NaN))).toBe("E_INVALID_SIZE");
  });

  test("lists its extents, all or a part", async () => {
    const name = await newImage("disk.qcow2", MiB);
    await using disk = await open(name, { writable: true });
    await disk.write(128 * KiB, filled(64 * KiB, 1));
    await disk.write(256 * KiB, filled(64 * KiB, 2));
    await disk.writeZeroes(256 * KiB, 64 * KiB);
    const nothing = { depth: 0, present: false, zero: true, data: false, compressed: false };
    const something = { ...nothing, present: true };
    expect(await all(disk.extents())).toEqual([
      { ...nothing, start: 0, length: 128 * KiB },
      {
        ...something,
        start: 128 * KiB,
        length: 64 * KiB,
        zero: false,
        data: true,
        offset: expect.any(Number),
      },
      { ...nothing, start: 192 * KiB, length: 64 * KiB },
      { ...something, start: 256 * KiB, length: 64 * KiB },
      { ...nothing, start: 320 * KiB, length: 704 * KiB },
    ]);
    expect(await all(disk.extents({ start: 160 * KiB, end: 200 * KiB }))).toMatchObject([
      { start: 160 * KiB, length: 32 * KiB, data: true },
      { start: 192 * KiB, length: 8 * KiB, data: false },
    ]);
    // A loop may be left in the middle.
    for await (const { start } of disk.extents()) {
      expect(start).toBe(0);
      break;
    }
  });
});

describe("web streams", () => {
  test("a range goes to a file, and a file into a range", async () => {
    const name = await newImage();
    const data = randomBytes(3 * MiB + 77);
    await writeFile(path("in"), data);
    await using disk = await open(name, { writable: true });
    const source = Readable.toWeb(createReadStream(path("in"))) as ReadableStream<Uint8Array>;
    await source.pipeTo(disk.writable({ start: 333 }));
    const target = Writable.toWeb(createWriteStream(path("out")));
    await disk.readable({ start: 333, end: 333 + data.length, chunkSize: 100_000 }).pipeTo(target);
    expect(sha256(await readFile(path("out")))).toBe(sha256(data));
  });

  test("a disk is hashed as it is read", async () => {
    const name = await newImage("disk.qcow2", 3 * MiB + 512);
    await using disk = await open(name, { writable: true });
    const data = randomBytes(disk.size);
    await disk.write(0, data);
    const hash = createHash("sha256");
    let chunks = 0;
    for await (const chunk of disk.readable()) {
      hash.update(chunk);
      chunks++;
    }
    expect(hash.digest("hex")).toBe(sha256(data));
    expect(chunks).toBe(4);
  });

  test("writing past the range fails, and the stream says why", async () => {
    await using disk = await open(await newImage("disk.qcow2", MiB), { writable: true });
    const writer = disk.writable({ start: 0, end: 1000 }).getWriter();
    await writer.write(filled(900, 7));
    expect(await codeOf(writer.write(filled(200, 8)))).toBe("E_OUT_OF_RANGE");
    expect(await read(disk, 0, 1000)).toEqual(
      new Uint8Array([...filled(900, 7), ...filled(100, 0)]),
    );
  });

  test("errors of reading end the stream", async () => {
    const disk = await open(await newImage("disk.qcow2", MiB));
    const reader = disk.readable({ chunkSize: 1000 }).getReader();
    await reader.read();
    await disk.close();
    // One chunk may have been read ahead.
    expect(await codeOf(async () => (await reader.read(), reader.read()))).toBe("E_CLOSED");
  });
});

describe("what images name", () => {
  async function overlay(): Promise<string> {
    await create({ name: path("base.raw"), format: "raw", size: MiB });
    await writeFile(path("base.raw"), filled(MiB, 5));
    await create({
      name: path("top.qcow2"),
      format: "qcow2",
      backing: { name: "base.raw", format: "raw" },
    });
    return path("top.qcow2");
  }

  test("is not opened unless that is allowed", async () => {
    const top = await overlay();
    expect(await codeOf(open(top))).toBe("E_REFERENCE_DENIED");
    // The refusal has let go of the file.
    await using disk = await open(top, { writable: true, references: "follow" });
    expect(await read(disk, 1000, 1)).toEqual(filled(1, 5));
    await disk.write(1000, filled(1, 6));
    expect(await read(disk, 999, 3)).toEqual(new Uint8Array([5, 6, 5]));
    expect(sha256(await readFile(path("base.raw")))).toBe(sha256(filled(MiB, 5)));
    expect((await all(disk.extents())).map(({ depth, length }) => [depth, length])).toEqual([
      [0, 64 * KiB],
      [1, MiB - 64 * KiB],
    ]);
  });

  test("is decided by a function, which sees the name as it is written", async () => {
    const asked: string[][] = [];
    await using disk = await open(await overlay(), {
      references: ({ name, format }, image) => {
        asked.push([name, format ?? "", image.name]);
        return Promise.resolve(MemoryStorage.from(filled(MiB, 9)));
      },
    });
    expect(asked).toEqual([["base.raw", "raw", path("top.qcow2")]]);
    expect(await read(disk, 0, 1)).toEqual(filled(1, 9));
  });

  test("can be left out", async () => {
    await using disk = await open(await overlay(), { references: "ignore" });
    expect(await read(disk, 0, 4)).toEqual(filled(4, 0));
  });
});

/** The smallest storage there is. */
function fourMembers(bytes: Uint8Array, events: string[] = []): Storage {
  return {
    name: "four members",
    size: bytes.length,
    async read(offset, into) {
      const part = bytes.subarray(offset, offset + into.length);
      into.set(part);
      return part.length;
    },
    async close() {
      events.push("closed");
    },
  };
}

describe("a storage of one's own", () => {
  test("needs four members", async () => {
    const name = await newImage();
    {
      await using disk = await open(name, { writable: true });
      await disk.write(MiB, filled(MiB, 3));
    }
    const events: string[] = [];
    {
      await using disk = await open(fourMembers(await readFile(name), events));
      expect(disk.image.format).toBe("qcow2");
      expect(await read(disk, MiB - 1, 3)).toEqual(new Uint8Array([0, 3, 3]));
      expect(await codeOf(disk.write(0, filled(1, 1)))).toBe("E_READ_ONLY");
      await disk.flush();
    }
    expect(events).toEqual(["closed"]);
  });

  test.each(["qcow2", "raw"])(
    "that cannot be written is refused for writing (%s)",
    async (format) => {
      const bytes = await readFile(await newImage());
      const events: string[] = [];
      expect(await codeOf(open(fourMembers(bytes, events), { writable: true, format }))).toBe(
        "E_READ_ONLY",
      );
      expect(events).toEqual(["closed"]);
    },
  );

  test("is closed when what it holds cannot be opened", async () => {
    const events: string[] = [];
    const broken = await readFile(await newImage());
    broken.writeUInt32BE(99, 4);
    expect(await codeOf(open(fourMembers(broken, events)))).toBe("E_UNSUPPORTED_FEATURE");
    expect(events).toEqual(["closed"]);
  });

  test("fails in its own words", async () => {
    const failing = { ...fourMembers(filled(512, 0)) };
    await using disk = await open(failing);
    failing.read = () => Promise.reject(new RangeError("out of paper"));
    await expect(disk.read(0, filled(1, 0))).rejects.toThrow("out of paper");
  });

  test("in memory, holds a new image", async () => {
    const qcow2 = formats.find(({ name }) => name === "qcow2")!;
    const memory = new MemoryStorage();
    const made = await qcow2.create!(memory, { size: MiB });
    expect(await codeOf(open(memory.clone()))).toBe("E_UNFINISHED");
    await made.finish({ durable: true });
    await using disk = await open(memory, { writable: true });
    await disk.write(0, filled(10, 4));
    expect(await read(disk, 0, 11)).toEqual(new Uint8Array([...filled(10, 4), 0]));
  });
});

/** A disk behind a header of 512 bytes, to be read only. */
const boxed: Format = {
  name: "boxed",
  probe: (head) => (new TextDecoder().decode(head.subarray(0, 5)) === "BOXED" ? 100 : 0),
  async open(storage): Promise<Image> {
    return {
      format: "boxed",
      storage,
      size: storage.size - 512,
      clusterSize: 1,
      backing: undefined,
      map(at, end, into) {
        return into.add(Kind.data, at, end - at, host(at + 512)) ? end : at;
      },
      load: () => Promise.resolve(),
      close: () => Promise.resolve(),
    };
  },
};

describe("a format of one's own", () => {
  const bytes = new Uint8Array(512 + 16 * KiB).fill(7);
  bytes.set(new TextEncoder().encode("BOXED"));
  const known = [...formats, boxed];

  test("is found by its first bytes, or by its name", async () => {
    for (const options of [{}, { format: "boxed" }]) {
      await using disk = await open(fourMembers(bytes), { ...options, formats: known });
      expect(disk.image.format).toBe("boxed");
      expect(disk.size).toBe(16 * KiB);
      expect(await read(disk, 0, 16 * KiB)).toEqual(filled(16 * KiB, 7));
      expect(await all(disk.extents())).toMatchObject([
        { start: 0, length: 16 * KiB, offset: 512 },
      ]);
      expect(await codeOf(disk.write(0, filled(1, 1)))).toBe("E_READ_ONLY");
    }
    await using plain = await open(fourMembers(bytes));
    expect(plain.image.format).toBe("raw");
    expect(await codeOf(open(fourMembers(bytes), { format: "boxed" }))).toBe("E_UNKNOWN_FORMAT");
  });

  test("can be behind an image of another", async () => {
    const name = path("top.qcow2");
    const backing = { name: "box", format: "boxed" };
    await create({ name, format: "qcow2", size: MiB, backing, unsafe: true });
    await using disk = await open(name, {
      formats: known,
      references: () => Promise.resolve(fourMembers(bytes)),
    });
    expect(await read(disk, 16 * KiB - 1, 2)).toEqual(new Uint8Array([7, 0]));
  });
});

describe("an AbortSignal", () => {
  const aborted = AbortSignal.abort(new Error("enough"));

  test("stops opening", async () => {
    expect(await codeOf(open(await newImage(), { signal: aborted }))).toBe("E_ABORTED");
  });

  test("stops streams, both ways", async () => {
    await using disk = await open(await newImage(), { writable: true });
    const controller = new AbortController();
    const { signal } = controller;
    const reader = disk.readable({ signal }).getReader();
    const writer = disk.writable({ signal }).getWriter();
    expect((await reader.read()).value?.length).toBe(MiB);
    await writer.write(filled(10, 1));
    controller.abort();
    expect(await codeOf(async () => (await reader.read(), reader.read()))).toBe("E_ABORTED");
    expect(await codeOf(writer.write(filled(10, 2)))).toBe("E_ABORTED");
    expect(await read(disk, 0, 20)).toEqual(new Uint8Array([...filled(10, 1), ...filled(10, 0)]));
  });

  test("stops walking extents", async () => {
    await using disk = await open(await newImage(), { writable: true });
    expect(await codeOf(all(disk.extents({ signal: aborted })))).toBe("E_ABORTED");
  });

  test("stops a conversion, which leaves nothing behind", async () => {
    const name = await newImage("disk.qcow2", 64 * MiB);
    {
      await using disk = await open(name, { writable: true });
      await disk.write(0, filled(16 * MiB, 1));
    }
    for (const targetFormat of ["raw", "qcow2"]) {
      const controller = new AbortController();
      const steps: number[] = [];
      const converting = convert(
        { sources: [name], target: path("target"), targetFormat },
        {
          signal: controller.signal,
          onProgress({ done }) {
            steps.push(done);
            if (done > 4 * MiB) controller.abort();
          },
        },
      );
      expect(await codeOf(converting)).toBe("E_ABORTED");
      expect(steps.at(-1)).toBeLessThan(16 * MiB);
      expect(await readdir(directory)).toEqual(["disk.qcow2"]);
    }
    // The source has been let go of.
    await (await open(name, { writable: true })).close();
  });
});

describe("the commands", () => {
  test("make, describe, map, convert, compare and check", async () => {
    const name = await newImage("disk.qcow2", 4 * MiB);
    const data = randomBytes(MiB);
    {
      await using disk = await open(name, { writable: true });
      await disk.write(MiB, data);
    }
    const progress: number[] = [];
    const converted = await convert(
      { sources: [name], target: path("disk.raw"), targetFormat: "raw" },
      { onProgress: ({ done, total }) => progress.push(done / total) },
    );
    expect(converted).toEqual({ target: path("disk.raw"), format: "raw", size: 4 * MiB });
    expect(progress[0]).toBe(0);
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    const raw = await readFile(path("disk.raw"));
    expect(raw.length).toBe(4 * MiB);
    expect(sha256(raw.subarray(MiB, 2 * MiB))).toBe(sha256(data));

    const packed = path("packed.qcow2");
    await convert({
      sources: [path("disk.raw")],
      target: packed,
      targetFormat: "qcow2",
      targetOptions: { compression_type: "zstd" },
      compress: true,
    });
    expect(await info({ name: packed })).toMatchObject([
      {
        filename: packed,
        format: "qcow2",
        virtualSize: 4 * MiB,
        clusterSize: 64 * KiB,
        formatSpecific: { "compression-type": "zstd" },
      },
    ]);
    expect(await compare({ first: name, second: packed })).toEqual({
      identical: true,
      sizeDiffers: false,
      commonSize: 4 * MiB,
    });
    expect(await check({ name: packed })).toMatchObject({ corruptions: 0, leaks: 0 });
    const entries = [];
    for await (const { start, length, data: isData, filename } of map({ name })) {
      entries.push({ start, length, data: isData, filename });
    }
    expect(entries).toEqual([
      { start: 0, length: MiB, data: false, filename: name },
      { start: MiB, length: MiB, data: true, filename: name },
      { start: 2 * MiB, length: 2 * MiB, data: false, filename: name },
    ]);
  });

  test("say where two disks differ", async () => {
    const first = await newImage("first.qcow2", MiB);
    const second = await newImage("second.qcow2", MiB);
    {
      await using disk = await open(second, { writable: true });
      await disk.write(777_777, filled(1, 1));
    }
    expect(await compare({ first, second })).toMatchObject({
      identical: false,
      difference: { kind: "content", offset: 777_777 },
    });
  });
});

describe("errors", () => {
  test.each<[string, ErrorCode, () => Promise<unknown>]>([
    ["a missing file", "E_NOT_FOUND", () => open(path("nothing"))],
    ["a directory", "E_IS_DIRECTORY", () => open(directory)],
    [
      "an unknown format",
      "E_UNKNOWN_FORMAT",
      async () => open(await newImage(), { format: "ntfs" }),
    ],
    [
      "raw data opened as qcow2",
      "E_UNKNOWN_FORMAT",
      () => open(MemoryStorage.from(filled(512, 1)), { format: "qcow2" }),
    ],
    ["a file cut short", "E_TRUNCATED", () => cutShort()],
    [
      "a target that is the source",
      "E_SAME_FILE",
      async () => {
        const name = await newImage();
        return convert({ sources: [name], target: name, targetFormat: "raw" });
      },
    ],
    [
      "an image that is open for writing",
      "E_LOCKED",
      async () => {
        const name = await newImage();
        await using held = await open(name, { writable: true });
        expect(held.size).toBe(8 * MiB);
        return await open(name);
      },
    ],
  ])("%s", async (_, code, task) => {
    expect(await codeOf(task)).toBe(code);
  });

  /** Reads from an image whose data has been cut off. */
  async function cutShort(): Promise<Uint8Array> {
    const name = await newImage();
    {
      await using disk = await open(name, { writable: true });
      await disk.write(0, filled(MiB, 1));
    }
    const bytes = await readFile(name);
    await using disk = await open(MemoryStorage.from(bytes.subarray(0, bytes.length - 64 * KiB)));
    return await read(disk, 0, MiB);
  }

  test("name the file, the place and the value", async () => {
    await using disk = await open(await newImage());
    await expect(disk.read(8 * MiB - 1, filled(2, 0))).rejects.toMatchObject({
      name: "PlatterError",
      code: "E_OUT_OF_RANGE",
      details: { file: disk.name, offset: 8 * MiB - 1, value: 2 },
    });
  });

  test.each([-1, 0.5, Number.NaN, Infinity, 2 ** 53])("an offset of %d is refused", async (at) => {
    await using disk = await open(await newImage(), { writable: true });
    expect(await codeOf(disk.read(at, filled(1, 0)))).toBe("E_OUT_OF_RANGE");
    expect(await codeOf(disk.write(at, filled(1, 0)))).toBe("E_OUT_OF_RANGE");
    expect(await codeOf(disk.writeZeroes(at, 1))).toBe("E_OUT_OF_RANGE");
    expect(await codeOf(disk.discard(at, 1))).toBe("E_OUT_OF_RANGE");
  });

  test.each([-1, 0.5, Number.NaN, Infinity])("a length of %d is refused", async (length) => {
    await using disk = await open(await newImage(), { writable: true });
    expect(await codeOf(disk.writeZeroes(0, length))).toBe("E_OUT_OF_RANGE");
    expect(await codeOf(disk.discard(0, length))).toBe("E_OUT_OF_RANGE");
  });

  test.each([
    { start: -1 },
    { start: 0.5 },
    { start: Number.NaN },
    { end: Number.NaN },
    { end: 0.5 },
  ])("extents of %o are refused", async (range) => {
    await using disk = await open(await newImage());
    expect(await codeOf(all(disk.extents(range)))).toBe("E_OUT_OF_RANGE");
  });

  test("there are no extents past the end", async () => {
    await using disk = await open(await newImage());
    expect(await all(disk.extents({ start: 9 * MiB, end: 10 * MiB }))).toEqual([]);
    expect(await all(disk.extents({ start: 8 * MiB }))).toEqual([]);
    expect(await all(disk.extents({ start: MiB, end: 0 }))).toEqual([]);
  });

  test.each([
    [{ start: -1 }, "E_OUT_OF_RANGE"],
    [{ start: 1.5 }, "E_OUT_OF_RANGE"],
    [{ start: 10, end: 9 }, "E_OUT_OF_RANGE"],
    [{ end: 9 * MiB }, "E_OUT_OF_RANGE"],
    [{ end: Number.NaN }, "E_OUT_OF_RANGE"],
  ] as const)("streams over %o are refused with %s", async (range, code) => {
    await using disk = await open(await newImage(), { writable: true });
    expect(await codeOf(disk.readable(range).getReader().read())).toBe(code);
    expect(await codeOf(disk.writable(range).getWriter().write(filled(1, 0)))).toBe(code);
  });

  test.each([0, -1, 0.5, Number.NaN, Infinity])("chunks of %d bytes are refused", async (size) => {
    await using disk = await open(await newImage());
    expect(await codeOf(async () => disk.readable({ chunkSize: size }))).toBe("E_INVALID_ARGUMENT");
  });
});

describe("closing", () => {
  test("twice does no harm", async () => {
    const disk = await open(await newImage(), { writable: true });
    await disk.write(0, filled(10, 1));
    await Promise.all([disk.close(), disk.close()]);
    await expect(disk.close()).resolves.toBeUndefined();
  });

  test("ends all use", async () => {
    const disk = await open(await newImage(), { writable: true });
    await disk.close();
    const byte = filled(1, 0);
    expect(await codeOf(disk.read(0, byte))).toBe("E_CLOSED");
    expect(await codeOf(disk.write(0, byte))).toBe("E_CLOSED");
    expect(await codeOf(disk.writeZeroes(0, 1))).toBe("E_CLOSED");
    expect(await codeOf(disk.writeCompressed(0, filled(64 * KiB, 0)))).toBe("E_CLOSED");
    expect(await codeOf(disk.discard(0, 1))).toBe("E_CLOSED");
    expect(await codeOf(disk.resize(512))).toBe("E_CLOSED");
    expect(await codeOf(disk.flush())).toBe("E_CLOSED");
    expect(await codeOf(all(disk.extents()))).toBe("E_CLOSED");
    expect(await codeOf(disk.readable().getReader().read())).toBe("E_CLOSED");
    expect(await codeOf(disk.writable().getWriter().write(byte))).toBe("E_CLOSED");
  });

  test("ends all use, also where nothing has to be asked of the storage", async () => {
    const disk = await open(fourMembers(filled(4096, 0)));
    await disk.close();
    expect(await codeOf(all(disk.extents()))).toBe("E_CLOSED");
    expect(await codeOf(disk.read(0, filled(0, 0)))).toBe("E_CLOSED");
  });

  test("happens at the end of the block, and writes everything out", async () => {
    const name = await newImage();
    const before = (await stat(name)).size;
    {
      await using disk = await open(name, { writable: true });
      await disk.write(0, filled(MiB, 1));
    }
    expect((await stat(name)).size).toBeGreaterThan(before + MiB - 1);
    // The lock is gone too.
    await using disk = await open(name, { writable: true });
    expect(await read(disk, MiB - 1, 2)).toEqual(new Uint8Array([1, 0]));
  });
});
