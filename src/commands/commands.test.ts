import { describe, expect, test } from "vitest";
import { portableCodecs } from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import { check, compare, convert, create, info, map, type Progress } from "./index.ts";
import { MemoryProvider } from "./provider.test-kit.ts";

const MiB = 2 ** 20;

interface Surroundings {
  readonly provider: MemoryProvider;
  readonly codecs: typeof portableCodecs;
}

const surroundings = (): Surroundings => ({
  provider: new MemoryProvider(),
  codecs: portableCodecs,
});

/** A raw file of 3 MiB with some data. */
function addSource({ provider }: Surroundings, name = "source"): Uint8Array {
  const bytes = new Uint8Array(3 * MiB);
  bytes.fill(1, 100_000, 300_000);
  bytes.fill(2, 2 * MiB, 2 * MiB + 70_000);
  bytes[3 * MiB - 1] = 3;
  provider.put(name, bytes);
  return bytes;
}

describe("create, info, check and map", () => {
  test("a new image is what was asked for", async () => {
    const context = surroundings();
    const result = await create({ name: "new", format: "qcow2", size: MiB + 1 }, context);
    expect(result).toMatchObject({ name: "new", format: "qcow2", size: MiB + 1 });
    const [described] = await info({ name: "new" }, context);
    expect(described).toMatchObject({
      format: "qcow2",
      virtualSize: MiB + 512,
      clusterSize: 65_536,
      dirty: false,
      backingFilename: undefined,
    });
    const report = await check({ name: "new" }, context);
    expect(report).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0, filename: "new" });
    const entries = [];
    for await (const { start, length, zero, data, present } of map({ name: "new" }, context)) {
      entries.push({ start, length, zero, data, present });
    }
    expect(entries).toEqual([
      { start: 0, length: MiB + 512, zero: true, data: false, present: false },
    ]);
    expect(context.provider.openCount).toBe(0);
  });

  test("a chain from the top down", async () => {
    const context = surroundings();
    addSource(context, "base");
    const backing = { name: "base", format: "raw" };
    await create({ name: "middle", format: "qcow2", backing }, context);
    const above = { name: "middle", format: "qcow2" };
    await create({ name: "top", format: "qcow2", backing: above, size: 5 * MiB }, context);
    const chain = await info({ name: "top", backingChain: true }, context);
    expect(chain.map(({ filename, virtualSize }) => [filename, virtualSize])).toEqual([
      ["top", 5 * MiB],
      ["middle", 3 * MiB],
      ["base", 3 * MiB],
    ]);
    expect((await compare({ first: "base", second: "top" }, context)).identical).toBe(true);
    expect(context.provider.openCount).toBe(0);
  });

  test.each([
    [{ name: "new", format: "nope", size: 1 }, "E_UNKNOWN_FORMAT"],
    [{ name: "new", format: "qcow2" }, "E_INVALID_ARGUMENT"],
    [
      { name: "new", format: "qcow2", size: 1, formatOptions: { cluster_size: 100 } },
      "E_INVALID_ARGUMENT",
    ],
    [{ name: "new", format: "qcow2", backing: { name: "none", format: "raw" } }, "E_NOT_FOUND"],
    [{ name: "new", format: "qcow2", backing: { name: "new", format: "raw" } }, "E_SAME_FILE"],
    [
      { name: "new", format: "raw", size: 1, backing: { name: "b", format: "raw" } },
      "E_INVALID_ARGUMENT",
    ],
  ])("refuses %o and leaves nothing behind", async (options, code) => {
    const context = surroundings();
    await expect(create(options, context)).rejects.toMatchObject({ code });
    expect(context.provider.names()).toEqual([]);
    expect(context.provider.openCount).toBe(0);
  });

  test("a failed creation leaves the old file", async () => {
    const context = surroundings();
    const before = addSource(context, "old");
    const formatOptions = { refcount_bits: 3 };
    const creating = create({ name: "old", format: "qcow2", size: 512, formatOptions }, context);
    await expect(creating).rejects.toBeInstanceOf(PlatterError);
    expect(context.provider.get("old")).toEqual(before);
  });

  test("what has no structure cannot be checked", async () => {
    const context = surroundings();
    addSource(context);
    await expect(check({ name: "source" }, context)).rejects.toMatchObject({
      code: "E_UNSUPPORTED",
    });
    expect(context.provider.openCount).toBe(0);
  });
});

describe("convert and compare", () => {
  test.each([{}, { compress: true }, { targetOptions: { compat: "0.10", cluster_size: 512 } }])(
    "there and back: %o",
    async (options) => {
      const context = surroundings();
      const bytes = addSource(context);
      const seen: Progress[] = [];
      const onProgress = (progress: Progress) => seen.push({ ...progress });
      await convert(
        { sources: ["source"], target: "image", targetFormat: "qcow2", ...options },
        { ...context, onProgress },
      );
      expect(await check({ name: "image" }, context)).toMatchObject({ corruptions: 0, leaks: 0 });
      const done = seen.map((progress) => progress.done);
      expect(done).toEqual(done.toSorted((a, b) => a - b));
      expect(seen.at(-1)).toEqual({ done: 3 * MiB, total: 3 * MiB });
      expect(await compare({ first: "source", second: "image" }, context)).toMatchObject({
        identical: true,
        sizeDiffers: false,
      });
      await convert({ sources: ["image"], target: "back", targetFormat: "raw" }, context);
      expect(context.provider.get("back")).toEqual(bytes);
      expect(context.provider.openCount).toBe(0);
    },
  );

  test("several sources follow each other", async () => {
    const context = surroundings();
    const bytes = addSource(context);
    const sources = ["source", "source"];
    await convert({ sources, target: "both", targetFormat: "raw" }, context);
    const both = new Uint8Array(6 * MiB);
    both.set(bytes);
    both.set(bytes, 3 * MiB);
    expect(context.provider.get("both")).toEqual(both);
  });

  test("differences are found where they are", async () => {
    const context = surroundings();
    const bytes = addSource(context);
    const other = bytes.slice();
    other[2 * MiB + 17] = 99;
    context.provider.put("other", other);
    expect(await compare({ first: "source", second: "other" }, context)).toMatchObject({
      identical: false,
      difference: { kind: "content", offset: 2 * MiB + 17 },
    });
    const longer = new Uint8Array(4 * MiB);
    longer.set(bytes);
    context.provider.put("longer", longer);
    expect(await compare({ first: "source", second: "longer" }, context)).toMatchObject({
      identical: true,
      sizeDiffers: true,
      larger: "second",
      commonSize: 3 * MiB,
    });
    expect(
      await compare({ first: "source", second: "longer", strict: true }, context),
    ).toMatchObject({ identical: false, difference: { kind: "size" } });
    longer[4 * MiB - 1] = 1;
    context.provider.put("longer", longer);
    expect((await compare({ first: "longer", second: "source" }, context)).difference).toEqual({
      kind: "content",
      offset: 4 * MiB - 1,
    });
  });

  test("a source is not written over", async () => {
    const context = surroundings();
    const bytes = addSource(context);
    await expect(
      convert({ sources: ["source"], target: "source", targetFormat: "qcow2" }, context),
    ).rejects.toMatchObject({ code: "E_SAME_FILE" });
    expect(context.provider.get("source")).toEqual(bytes);
    expect(context.provider.openCount).toBe(0);
  });
});

describe("cancelling", () => {
  test.each(["raw", "qcow2"])("a conversion to %s leaves nothing behind", async (targetFormat) => {
    const context = surroundings();
    context.provider.put("source", new Uint8Array(12 * MiB).fill(1));
    const controller = new AbortController();
    const converting = convert(
      { sources: ["source"], target: "target", targetFormat },
      {
        ...context,
        signal: controller.signal,
        onProgress: ({ done }) => {
          if (done > 0) controller.abort();
        },
      },
    );
    await expect(converting).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(context.provider.names()).toEqual(["source"]);
    expect(context.provider.openCount).toBe(0);
  });

  test("before anything has begun", async () => {
    const context = { ...surroundings(), signal: AbortSignal.abort() };
    addSource(context);
    const tasks = [
      convert({ sources: ["source"], target: "new", targetFormat: "qcow2" }, context),
      compare({ first: "source", second: "source" }, context),
      check({ name: "source" }, context),
      map({ name: "source" }, context).next(),
    ];
    for (const task of tasks) await expect(task).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(context.provider.names()).toEqual(["source"]);
    expect(context.provider.openCount).toBe(0);
  });
});
