/** What is measured: the same work by our program and by qemu-img. */
import type { Scale } from "./data.ts";
import type { CommandLine } from "./measure.ts";

/** One comparison. */
export interface Cell {
  readonly name: string;
  readonly what: string;
  /** How many times as fast as the peer at its best it has to be, and is meant to be. */
  readonly atLeast: number;
  readonly aim: number;
  readonly ours: CommandLine;
  /** The peer with its best flags; of several, the fastest one counts. */
  readonly best: readonly CommandLine[];
  /** The peer as people call it. */
  readonly plain: CommandLine;
  /** A program that does no more than the kernel has to. */
  readonly limit?: CommandLine;
  /** Run before each run, untimed. */
  readonly before?: CommandLine;
  /** The image that is made, and what its contents have to be equal to: the peer's unless named. */
  readonly makes?: { readonly format: "raw" | "qcow2"; readonly same?: string };
  /** Whether both have to print the same. */
  readonly prints?: boolean;
  /** Our result may be that many times as large as the peer's. */
  readonly larger?: number;
  /** Seconds that the program itself says it took, instead of those of the whole process. */
  readonly said?: RegExp;
}

/** The file that cells make. */
export const target = "out.img";

/** Our program under the name by which it speaks as qemu-img does; a link in the data's directory. */
export const asQemuImg = "./qemu-img";

export const program = new URL("../bin/platter.js", import.meta.url).pathname;
const requests = new URL("requests.ts", import.meta.url).pathname;
const platter = (...words: string[]): CommandLine => [process.execPath, program, ...words];
const qemu = (...words: string[]): CommandLine => ["qemu-img", ...words];

/** A conversion; the peer at its best writes out of order with 16 requests at a time. */
function conversion(
  name: string,
  atLeast: number,
  aim: number,
  format: "raw" | "qcow2",
  source: string,
  options: readonly string[] = [],
): Cell {
  const words = [...options, "-O", format, source, target];
  const contents = source.endsWith(".raw") ? source : "disk.raw";
  return {
    name,
    what: `convert ${[...options, "-O", format, source].join(" ")}`,
    atLeast,
    aim,
    ours: platter("convert", ...words),
    best: [qemu("convert", "-W", "-m", "16", ...words), qemu("convert", ...words)],
    plain: qemu("convert", ...words),
    makes: { format, same: contents },
    ...(options.includes("-c") && { larger: 1.02 }),
    ...(atLeast === 1 && { limit: ["cp", "--sparse=auto", contents, target] }),
  };
}

/** A command that both programs have under the same name, and that prints the same in both. */
function same(name: string, atLeast: number, aim: number, ...words: string[]): Cell {
  return {
    name,
    what: words.join(" "),
    atLeast,
    aim,
    ours: [process.execPath, asQemuImg, ...words],
    best: [qemu(...words)],
    plain: qemu(...words),
    prints: true,
  };
}

/** Requests of 4 KiB through the library, against `qemu-img bench` with the same stride. */
function requestCell(
  name: string,
  depth: number,
  count: number,
  size: string,
  writes: boolean,
): Cell {
  const stride = "1052672";
  const words = ["-c", String(count), "-d", String(depth), "-s", "4096", "-S", stride];
  const write = ["-w", "--pattern=1"];
  const file = writes ? target : "requests.qcow2";
  const theirs = ["bench", "-f", "qcow2", "-t", "writeback", ...words, ...(writes ? write : [])];
  const kind = writes ? "write" : "read";
  return {
    name,
    what: `${count} ${kind}s of 4 KiB, stride ${stride}, ${depth} at a time`,
    atLeast: 1,
    aim: 1.5,
    ours: [process.execPath, requests, kind, file, String(count), String(depth), stride],
    best: [qemu(...theirs, file)],
    plain: qemu(...theirs, file),
    ...(writes && {
      before: qemu("create", "-q", "-f", "qcow2", target, size),
      makes: { format: "qcow2" },
    }),
    said: /Run completed in ([0-9.]+) seconds/,
  };
}

/** All cells for data of a scale. */
export function cells({ metadata, requests: size, name }: Scale): readonly Cell[] {
  // So large that no write meets a cluster that is there.
  const [writes, writeSize] = name === "full" ? [20_000, "20G"] : [2000, "2G"];
  const zstd = ["-o", "compression_type=zstd"];
  const create = (mode: string, bytes: string): string[] => [
    "create",
    "-q",
    "-f",
    "qcow2",
    "-o",
    `preallocation=${mode}`,
    target,
    bytes,
  ];
  return [
    conversion("raw-qcow2", 1, 1.4, "qcow2", "disk.raw"),
    conversion("qcow2-raw", 1, 1.4, "raw", "plain.qcow2"),
    conversion("qcow2-qcow2", 1, 1.4, "qcow2", "plain.qcow2"),
    conversion("mix-qcow2", 1, 1.4, "qcow2", "random.raw"),
    conversion("raw-zlib", 2, 3, "qcow2", "disk.raw", ["-c"]),
    conversion("raw-zstd", 2, 3, "qcow2", "disk.raw", ["-c", ...zstd]),
    conversion("zlib-raw", 1.5, 2.5, "raw", "zlib.qcow2"),
    conversion("zstd-raw", 1.5, 2.5, "raw", "zstd.qcow2"),
    conversion("zlib-zstd", 2, 3, "qcow2", "zlib.qcow2", ["-c", ...zstd]),
    same("compare-qcow2", 1, 1.5, "compare", "disk.raw", "plain.qcow2"),
    same("compare-zlib", 1.5, 2.5, "compare", "disk.raw", "zlib.qcow2"),
    same("check", 1, 2, "check", "metadata.qcow2"),
    same("map", 1, 2, "map", "metadata.qcow2"),
    same("measure", 1, 2, "measure", "-O", "qcow2", "metadata.qcow2"),
    {
      ...same("create-metadata", 1, 2, ...create("metadata", metadata)),
      makes: { format: "qcow2" },
    },
    { ...same("create-full", 1, 2, ...create("full", size)), makes: { format: "qcow2" } },
    requestCell("read-1", 1, 20_000, size, false),
    requestCell("read-64", 64, 100_000, size, false),
    requestCell("write-1", 1, writes, writeSize, true),
    requestCell("write-64", 64, writes, writeSize, true),
    same("info", 0.2, 1, "info", "small.qcow2"),
  ];
}
