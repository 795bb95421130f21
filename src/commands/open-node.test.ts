import { describe, expect, test } from "vitest";
import { portableCodecs } from "../codec/index.ts";
import { openDisk } from "../formats/index.ts";
import { MemoryStorage } from "../storage/index.ts";
import { convert, create, dd, info, map, measure, type MapEntry } from "./index.ts";
import { openImage } from "./open.ts";
import { parseNodeJson, parseNodeList } from "./node-options.ts";
import { MemoryProvider } from "./provider.test-kit.ts";

const surroundings = (): { provider: MemoryProvider; codecs: typeof portableCodecs } => ({
  provider: new MemoryProvider(),
  codecs: portableCodecs,
});

const sectors = (...values: number[]): Uint8Array =>
  Uint8Array.from({ length: values.length * 512 }, (_, i) => values[i >> 9] ?? 0);

describe("option lists", () => {
  test.each([
    ["driver=raw,file.filename=a,,b", { driver: "raw", "file.filename": "a,b" }],
    ["a.raw", { file: "a.raw" }],
    ["a=b=c,x=", { a: "b=c", x: "" }],
    ["a=1,nob,c", { a: "1", b: "off", c: "on" }],
    ["", {}],
  ])("%s", (text, expected) => {
    const options = parseNodeList(text);
    const found = Object.fromEntries(options.names.map((name) => [name, options.take(name)]));
    expect(found).toEqual(expected);
  });

  test("JSON is flattened, with its types", () => {
    const options = parseNodeJson(`{"a": {"b": 1, 'c': [true, null]}, "d.e": "x"}`);
    const found = Object.fromEntries(options.names.map((name) => [name, options.take(name)]));
    expect(found).toEqual({ "a.b": 1, "a.c.0": true, "a.c.1": null, "d.e": "x" });
  });

  test("names of JSON members mean nothing to JavaScript", () => {
    const options = parseNodeJson(`{"__proto__": {"x": 1}, "constructor": 2}`);
    expect(options.names.toSorted()).toEqual(["__proto__.x", "constructor"]);
  });

  test("deep nesting is refused, not followed into the ground", () => {
    expect(() => parseNodeJson("[".repeat(100_000))).toThrow(/nesting depth|premature/);
  });
});

describe("a window of a file", () => {
  test("is read and written in its place only", async () => {
    const context = surroundings();
    context.provider.put("disk", sectors(1, 2, 3, 4));
    const name = "driver=raw,offset=512,size=1024,file.filename=disk";
    const disk = await openImage({ name, imageOpts: true, writable: true }, context);
    expect(disk.size).toBe(1024);
    const bytes = new Uint8Array(1024);
    await disk.read(0, bytes);
    expect(bytes).toEqual(sectors(2, 3));
    await disk.write(512, new Uint8Array(512).fill(9));
    await disk.writeZeroes(0, 512);
    await expect(disk.write(1024, new Uint8Array(1))).rejects.toMatchObject({
      code: "E_OUT_OF_RANGE",
    });
    await expect(disk.resize(2048)).rejects.toMatchObject({
      details: { qemu: "Cannot resize fixed-size raw disks" },
    });
    await disk.close();
    expect(context.provider.get("disk")).toEqual(sectors(1, 0, 9, 4));
  });

  test("without a size grows with the file", async () => {
    const context = surroundings();
    context.provider.put("disk", sectors(1, 2));
    const name = 'json:{"driver":"raw","offset":512,"file":{"filename":"disk"}}';
    const disk = await openImage({ name, writable: true }, context);
    await disk.resize(1536);
    await disk.write(1024, new Uint8Array(512).fill(7));
    await disk.close();
    expect(context.provider.get("disk")).toEqual(sectors(1, 2, 0, 7));
  });

  test("holds an image of another format", async () => {
    const context = surroundings();
    await create({ name: "inner", format: "qcow2", size: 65_536 }, context);
    const inner = context.provider.get("inner") ?? new Uint8Array();
    const bytes = new Uint8Array(512 + inner.length);
    bytes.set(inner, 512);
    context.provider.put("outer", bytes);
    const name = "driver=qcow2,file.driver=raw,file.offset=512,file.file.filename=outer";
    const disk = await openImage({ name, imageOpts: true, writable: true }, context);
    await disk.write(1000, new Uint8Array(3).fill(5));
    await disk.close();
    const outer = context.provider.get("outer") ?? new Uint8Array();
    const again = await openDisk(MemoryStorage.from(outer.slice(512)), { format: "qcow2" });
    const found = new Uint8Array(3);
    await again.read(1000, found);
    expect(found).toEqual(new Uint8Array([5, 5, 5]));
    expect(context.provider.openCount).toBe(0);
  });
});

describe("backing images", () => {
  async function overlay(context: ReturnType<typeof surroundings>, backing: string): Promise<void> {
    await create(
      {
        name: "overlay",
        format: "qcow2",
        size: 2048,
        backing: { name: backing, format: "raw" },
        unsafe: true,
      },
      context,
    );
  }

  test("are what the options say", async () => {
    const context = surroundings();
    await overlay(context, "gone");
    context.provider.put("other", sectors(1, 2, 3, 4));
    const name =
      "driver=qcow2,file.filename=overlay,backing.driver=raw,backing.file.filename=other";
    const disk = await openImage({ name, imageOpts: true }, context);
    const bytes = new Uint8Array(2048);
    await disk.read(0, bytes);
    expect(bytes).toEqual(sectors(1, 2, 3, 4));
    await disk.close();
    const alone = await openImage(
      { name: 'json:{"driver":"qcow2","file.filename":"overlay","backing":null}' },
      context,
    );
    await alone.read(0, bytes);
    expect(bytes).toEqual(new Uint8Array(2048));
    await alone.close();
    expect(context.provider.openCount).toBe(0);
  });

  test("with a json: name in the image", async () => {
    const context = surroundings();
    await overlay(context, 'json:{"driver":"raw","offset":512,"file.filename":"other"}');
    context.provider.put("other", sectors(1, 2, 3));
    const entries: MapEntry[] = [];
    for await (const entry of map({ name: "overlay" }, context)) entries.push(entry);
    expect(entries[0]).toMatchObject({ start: 0, length: 1024, offset: 512, filename: "other" });
    // A program that opens images by itself has to allow it.
    const bytes = context.provider.get("overlay") ?? new Uint8Array();
    await expect(openDisk(MemoryStorage.from(bytes))).rejects.toMatchObject({
      code: "E_REFERENCE_DENIED",
    });
  });

  test("that are the image itself by a json: name come to an end", async () => {
    const context = surroundings();
    const itself = 'json:{"driver":"qcow2","file.filename":"overlay"}';
    await create(
      {
        name: "overlay",
        format: "qcow2",
        size: 2048,
        backing: { name: itself, format: "qcow2" },
        unsafe: true,
      },
      context,
    );
    await expect(openImage({ name: "overlay" }, context)).rejects.toMatchObject({
      code: expect.stringMatching(/^E_CHAIN_(LOOP|DEPTH)$/) as unknown,
    });
    expect(context.provider.openCount).toBe(0);
  });
});

describe("commands with option lists", () => {
  test("name images as QEMU does", async () => {
    const context = surroundings();
    context.provider.put("disk", sectors(1, 2, 3, 4));
    const [plain] = await info({ name: "driver=raw,file.filename=disk", imageOpts: true }, context);
    expect(plain).toMatchObject({ filename: "disk", virtualSize: 2048 });
    const [part] = await info(
      { name: 'json:{"driver":"raw","size":512,"file.filename":"disk"}' },
      context,
    );
    expect(part?.filename).toBe(
      'json:{"driver": "raw", "size": 512, "file": {"driver": "file", "filename": "disk"}}',
    );
  });

  test("measure and convert part of a disk", async () => {
    const context = surroundings();
    context.provider.put("disk", sectors(1, 2, 3, 4));
    const name = "driver=raw,offset=1024,file.filename=disk";
    const source = { name, imageOpts: true };
    expect(await measure({ source, targetFormat: "raw" }, context)).toEqual({
      required: 1024,
      fullyAllocated: 1024,
    });
    await convert(
      { sources: [name], imageOpts: true, target: "out", targetFormat: "raw" },
      context,
    );
    expect(context.provider.get("out")).toEqual(sectors(3, 4));
    const target = "driver=raw,offset=512,file.filename=disk";
    await convert(
      { sources: ["out"], target, targetFormat: "raw", createTarget: false, targetImageOpts: true },
      context,
    );
    expect(context.provider.get("disk")).toEqual(sectors(1, 3, 4, 4));
    expect(context.provider.openCount).toBe(0);
  });
});

describe("dd", () => {
  const run = async (
    options: Omit<Parameters<typeof dd>[0], "source" | "target" | "targetFormat">,
    old?: Uint8Array,
  ): Promise<Uint8Array | undefined> => {
    const context = surroundings();
    context.provider.put("in", sectors(1, 2, 3, 4));
    if (old !== undefined) context.provider.put("out", old);
    await dd({ source: "in", target: "out", targetFormat: "raw", ...options }, context);
    expect(context.provider.openCount).toBe(0);
    return context.provider.get("out");
  };

  test("counts as QEMU does: count from the start of the source", async () => {
    expect(await run({ count: 3, skip: 1 })).toEqual(sectors(2, 3));
    expect(await run({ count: 1, skip: 3 })).toEqual(new Uint8Array());
  });

  test("leaves room in front of what it copies", async () => {
    expect(await run({ count: 1, seek: 2 })).toEqual(sectors(0, 0, 1));
  });

  test("keeps a target, which grows", async () => {
    const old = sectors(7, 8, 9);
    expect(await run({ count: 1, seek: 1, keepTarget: true }, old)).toEqual(sectors(7, 1, 9));
    expect(await run({ seek: 2, keepTarget: true }, old)).toEqual(sectors(7, 8, 1, 2, 3, 4));
    expect(await run({ keepTarget: true })).toEqual(sectors(1, 2, 3, 4));
  });
});
