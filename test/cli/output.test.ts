import { mkdirSync, mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type {
  CheckResult,
  Commands,
  CompareResult,
  CreateResult,
  ImageInfo,
  MapEntry,
} from "../../src/cli/contract.ts";
import { PlatterError } from "../../src/errors.ts";
import { hasPeer, type Outcome, peer, run } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-output-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

type Json = { readonly [key: string]: unknown };

function object(value: unknown): Json {
  if (typeof value !== "object" || value === null) throw new Error("not an object");
  return { ...value };
}

const text = (value: unknown): string | undefined =>
  typeof value === "string" ? value : undefined;
const number = (value: unknown): number => (typeof value === "number" ? value : 0);
const optional = (value: unknown): number | undefined =>
  typeof value === "number" ? value : undefined;

/** The peer's JSON answer, as a list. */
function peerJson(words: readonly string[]): Json[] {
  const value: unknown = JSON.parse(peer(words, directory).stdout);
  return Array.isArray(value) ? value.map(object) : [object(value)];
}

function io(image: string, ...commands: string[]): void {
  const words = commands.flatMap((command) => ["-c", command]);
  const format = image.endsWith("qcow2") ? "qcow2" : "raw";
  const { status, stderr } = spawnSync("qemu-io", ["-f", format, ...words, image], {
    cwd: directory,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
}

function create(...words: string[]): void {
  const { code, stderr } = peer(["create", "-q", ...words], directory);
  if (code !== 0) throw new Error(stderr);
}

/** Changes reference counts of an image of 14 clusters: used ones become damage, others leaks. */
function damage(image: string, counts: Readonly<Record<number, number>>): void {
  const commands = Object.entries(counts).map(
    ([cluster, count]) => `write -P ${count} ${0x20000 + Number(cluster) * 2 + 1} 1`,
  );
  const words = commands.flatMap((command) => ["-c", command]);
  truncateSync(join(directory, image), 14 * 65536);
  spawnSync("qemu-io", ["-f", "raw", ...words, image], { cwd: directory });
}

beforeAll(() => {
  if (!hasPeer) return;
  mkdirSync(join(directory, "sub"));
  create("-f", "raw", "plain.raw", "1M");
  io("plain.raw", "write -P 1 0 128k", "write -P 2 512k 64k");
  create("-f", "raw", "empty.raw", "0");
  create("-f", "raw", "small.raw", "1M");
  create("-f", "raw", "large.raw", "2M");
  create("-f", "raw", "tail.raw", "2M");
  io("tail.raw", "write -P 1 1536k 4k");
  create("-f", "qcow2", "base.qcow2", "1M");
  io("base.qcow2", "write -P 3 64k 128k", "write -z 512k 64k");
  create("-f", "qcow2", "packed.qcow2", "1M");
  io("packed.qcow2", "write -P 3 64k 128k", "write -c -P 4 768k 64k");
  create("-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2", "2M");
  io("top.qcow2", "write -P 3 0 64k");
  create("-f", "qcow2", "-o", "compat=0.10", "old.qcow2", "1100M");
  create(
    "-f",
    "qcow2",
    "-o",
    "lazy_refcounts=on,extended_l2=on,compression_type=zstd,refcount_bits=1",
    "new.qcow2",
    "1M",
  );
  create("-f", "qcow2", "-u", "-b", 'we\tird "näme\\\n', "-F", "raw", "odd.qcow2", "1M");
  create("-f", "qcow2", "-u", "-b", "rel/base", "-F", "raw", "sub/rel.qcow2", "1M");
  create("-f", "qcow2", "damaged.qcow2", "1M");
  io("damaged.qcow2", "write -P 3 64k 128k");
  damage("damaged.qcow2", { 4: 0, 5: 2, 12: 1 });
  create("-f", "qcow2", "leaky.qcow2", "1M");
  io("leaky.qcow2", "write -P 3 64k 128k");
  damage("leaky.qcow2", { 12: 1 });
});

/** An `info` whose answers are the peer's. */
const info: Commands["info"] = async ({ name, backingChain }) =>
  peerJson([
    "info",
    "--output=json",
    ...(backingChain === true ? ["--backing-chain"] : []),
    name,
  ]).map((json): ImageInfo => ({
    filename: text(json["filename"]) ?? "",
    format: text(json["format"]) ?? "",
    virtualSize: number(json["virtual-size"]),
    allocatedSize: optional(json["actual-size"]),
    clusterSize: optional(json["cluster-size"]),
    dirty: json["dirty-flag"] === true,
    snapshots: [],
    encrypted: false,
    backingFilename: text(json["backing-filename"]),
    fullBackingFilename: text(json["full-backing-filename"]),
    backingFormat: text(json["backing-filename-format"]),
    formatSpecific:
      json["format-specific"] === undefined
        ? undefined
        : object(object(json["format-specific"])["data"]),
  }));

/** A `map` whose answers are the peer's. */
const map: Commands["map"] = async function* ({ name, start = 0, maxLength }) {
  const limit = maxLength === undefined ? [] : ["-l", String(maxLength)];
  for (const json of peerJson(["map", "--output=json", "-s", String(start), ...limit, name])) {
    const entry: MapEntry = {
      start: number(json["start"]),
      length: number(json["length"]),
      depth: number(json["depth"]),
      present: json["present"] === true,
      zero: json["zero"] === true,
      data: json["data"] === true,
      compressed: false,
      ...(typeof json["offset"] === "number" && { offset: json["offset"] }),
      filename: number(json["depth"]) === 0 ? name : "base.qcow2",
    };
    if (entry.length > 0) yield entry;
  }
};

/** A `check` whose answers are the peer's. */
const check: Commands["check"] = async ({ name }) => {
  const { stdout, stderr, code } = peer(["check", "--output=json", name], directory);
  if (code === 63) {
    throw new PlatterError("E_UNSUPPORTED", "raw images have nothing to check", {
      qemu: "This image format does not support checks",
    });
  }
  const json = object(JSON.parse(stdout));
  const report: CheckResult = {
    filename: text(json["filename"]) ?? "",
    format: text(json["format"]) ?? "",
    imageEndOffset: number(json["image-end-offset"]),
    totalClusters: number(json["total-clusters"]),
    allocatedClusters: number(json["allocated-clusters"]),
    fragmentedClusters: number(json["fragmented-clusters"]),
    compressedClusters: number(json["compressed-clusters"]),
    corruptions: number(json["corruptions"]),
    leaks: number(json["leaks"]),
    checkErrors: number(json["check-errors"]),
    problems: stderr
      .split("\n")
      .filter((line) => line !== "")
      .map((message) => ({ kind: message.startsWith("Leaked") ? "leak" : "error", message })),
    problemsOmitted: 0,
  };
  return report;
};

async function expectSame(words: readonly string[], commands: Partial<Commands>): Promise<Outcome> {
  const theirs = peer(words, directory);
  const ours = await run("qemu-img", words, commands);
  expect(ours).toEqual(theirs);
  return theirs;
}

describe.skipIf(!hasPeer)("qemu-img's output, byte for byte", () => {
  it.each([
    "plain.raw",
    "empty.raw",
    "base.qcow2",
    "top.qcow2",
    "old.qcow2",
    "new.qcow2",
    "odd.qcow2",
    "sub/rel.qcow2",
    "damaged.qcow2",
  ])("info %s", async (name) => {
    await expectSame(["info", name], { info });
    await expectSame(["info", "--output=json", name], { info });
    await expectSame(["info", "-U", "--output=human", name], { info });
  });

  it("info --backing-chain", async () => {
    for (const name of ["top.qcow2", "plain.raw"]) {
      await expectSame(["info", "--backing-chain", name], { info });
      await expectSame(["info", "--backing-chain", "--output=json", name], { info });
    }
  });

  it.each(["plain.raw", "empty.raw", "base.qcow2", "top.qcow2", "old.qcow2", "packed.qcow2"])(
    "map %s",
    async (name) => {
      await expectSame(["map", name], { map });
      await expectSame(["map", "--output=json", name], { map });
      await expectSame(["map", "-s", "100k", "-l", "64k", name], { map });
      await expectSame(["map", "--start-offset=100k", "--max-length=64k", "--output=json", name], {
        map,
      });
    },
  );

  it("map of nothing", async () => {
    await expectSame(["map", "-s", "3M", "plain.raw"], { map });
    await expectSame(["map", "-s", "3M", "--output=json", "plain.raw"], { map });
    await expectSame(["map", "-l", "0", "--output=json", "plain.raw"], { map });
  });

  it.each<[string, number]>([
    ["base.qcow2", 0],
    ["old.qcow2", 0],
    ["packed.qcow2", 0],
    ["damaged.qcow2", 2],
    ["leaky.qcow2", 3],
    ["plain.raw", 63],
  ])("check %s", async (name, code) => {
    expect((await expectSame(["check", name], { check })).code).toBe(code);
    await expectSame(["check", "--output=json", name], { check });
    await expectSame(["check", "-q", name], { check });
    await expectSame(["check", "-q", "--output=json", "-U", "-T", "none", name], { check });
  });

  it.each<[string[], CompareResult]>([
    [["plain.raw", "plain.raw"], { identical: true, sizeDiffers: false, commonSize: 1 }],
    [
      ["small.raw", "large.raw"],
      { identical: true, sizeDiffers: true, commonSize: 1, larger: "second" },
    ],
    [
      ["plain.raw", "small.raw"],
      {
        identical: false,
        sizeDiffers: false,
        commonSize: 1,
        difference: { kind: "content", offset: 0 },
      },
    ],
    [
      ["plain.raw", "large.raw"],
      {
        identical: false,
        sizeDiffers: true,
        commonSize: 2 ** 20,
        difference: { kind: "content", offset: 0 },
      },
    ],
    [
      ["small.raw", "tail.raw"],
      {
        identical: false,
        sizeDiffers: true,
        commonSize: 2 ** 20,
        difference: { kind: "content", offset: 1536 * 1024 },
      },
    ],
    [
      ["-s", "small.raw", "large.raw"],
      { identical: false, sizeDiffers: true, commonSize: 1, difference: { kind: "size" } },
    ],
    [
      ["-s", "small.raw", "new.qcow2"],
      {
        identical: false,
        sizeDiffers: false,
        commonSize: 1,
        difference: { kind: "allocation", offset: 0 },
      },
    ],
  ])("compare %j", async (words, result) => {
    await expectSame(["compare", ...words], { compare: async () => result });
    await expectSame(["compare", "-q", ...words], { compare: async () => result });
    await expectSame(["compare", "-pq", ...words], { compare: async () => result });
  });

  it("compare -p and convert -p", async () => {
    // One piece of data means one step on both sides.
    create("-f", "raw", "one.raw", "64k");
    io("one.raw", "write -P 1 0 64k");
    await expectSame(["compare", "-p", "one.raw", "one.raw"], {
      compare: async (_options, { onProgress }) => {
        onProgress?.({ done: 0, total: 65536 });
        onProgress?.({ done: 65536, total: 65536 });
        return { identical: true, sizeDiffers: false, commonSize: 1 };
      },
    });
    const convert: Commands["convert"] = async (_options, { onProgress }) => {
      onProgress?.({ done: 65536, total: 65536 });
      return { target: "two.raw", format: "raw", size: 65536 };
    };
    await expectSame(["convert", "-p", "one.raw", "two.raw"], { convert });
    await expectSame(["convert", "one.raw", "two.raw"], { convert });
    await expectSame(["convert", "-q", "-p", "one.raw", "two.raw"], { convert });
  });

  it("create", async () => {
    const fake =
      (format: string, options: CreateResult["options"]): Commands["create"] =>
      async ({ name, size = 0, onStart }) => {
        const result: CreateResult = { name, format, size, options };
        onStart?.(result);
        return result;
      };
    const raw = fake("raw", [["size", 2 ** 20]]);
    await expectSame(["create", "x.raw", "1M"], { create: raw });
    await expectSame(["create", "-q", "x.raw", "1M"], { create: raw });
    await expectSame(["create", "it's.raw", "1M"], { create: raw });
    const qcow2 = fake("qcow2", [
      ["cluster_size", 65536],
      ["extended_l2", false],
      ["compression_type", "zlib"],
      ["size", 2 ** 20],
      ["backing_file", "a,b"],
      ["backing_fmt", "raw"],
      ["lazy_refcounts", false],
      ["refcount_bits", 16],
    ]);
    await expectSame(["create", "-fqcow2", "-u", "-b", "a,b", "-Fraw", "x.qcow2", "1M"], {
      create: qcow2,
    });
  });

  it("create says what it does even if it fails then", async () => {
    const name = join("missing", "x.raw");
    await expectSame(["create", name, "1M"], {
      create: async ({ onStart }) => {
        onStart?.({ name, format: "raw", size: 2 ** 20, options: [["size", 2 ** 20]] });
        throw new PlatterError("E_NOT_FOUND", `There is no directory ${dirname(name)}.`, {
          qemu: `${name}: Could not create '${name}': No such file or directory`,
        });
      },
    });
  });

  it("ends a hint about the format as QEMU does", async () => {
    await expectSame(["create", "-f", "qcow2", "-b", "plain.raw", "x.qcow2"], {
      create: async () => {
        throw new PlatterError("E_INVALID_ARGUMENT", "x", {
          qemu: "x.qcow2: Backing file specified without backing format\nDetected format of raw.",
        });
      },
    });
  });

  it("lists options in its layout", async () => {
    const theirs = peer(["create", "-f", "qcow2", "-o", "help"]).stdout.split("\n");
    const ours = (await run("qemu-img", ["create", "-f", "qcow2", "-o", "help"])).stdout;
    const lines = ours.split("\n");
    expect(lines.length).toBeGreaterThan(6);
    for (const line of lines) expect(theirs).toContain(line);
    expect(lines.slice(-4)).toEqual(theirs.slice(-4));
    expect(await run("qemu-img", ["create", "-o", "help"])).toEqual(peer(["create", "-o", "help"]));
  });
});
