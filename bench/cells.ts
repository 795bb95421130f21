/** What is measured: the same work by our program and by qemu-img. */
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
  /** The image that is made, and what its contents have to be equal to. */
  readonly makes?: { readonly format: "raw" | "qcow2"; readonly same?: string };
  /** Our result may be that many times as large as the peer's. */
  readonly larger?: number;
  /** Seconds that the program itself says it took, instead of those of the whole process. */
  readonly said?: RegExp;
}

/** The file that cells make. */
export const target = "out.img";

const program = new URL("../bin/platter.js", import.meta.url).pathname;
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
  return {
    name,
    what: `convert ${[...options, "-O", format, source].join(" ")}`,
    atLeast,
    aim,
    ours: platter("convert", ...words),
    best: [qemu("convert", "-W", "-m", "16", ...words), qemu("convert", ...words)],
    plain: qemu("convert", ...words),
    makes: { format, same: source === "mix.raw" ? "mix.raw" : "disk.raw" },
    ...(options.includes("-c") && { larger: 1.02 }),
    ...(atLeast === 1 && { limit: ["cp", "--sparse=auto", "disk.raw", target] }),
  };
}

/** A command that both programs have under the same name. */
function same(name: string, atLeast: number, aim: number, ...words: string[]): Cell {
  return {
    name,
    what: words.join(" "),
    atLeast,
    aim,
    ours: platter(...words),
    best: [qemu(...words)],
    plain: qemu(...words),
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
  const file = writes ? target : "requests.qcow2";
  const theirs = ["bench", "-f", "qcow2", "-t", "writeback", ...words, ...(writes ? ["-w"] : [])];
  const kind = writes ? "write" : "read";
  return {
    name,
    what: `${count} ${kind}s of 4 KiB, stride ${stride}, ${depth} at a time`,
    atLeast: 1,
    aim: 1.5,
    ours: [process.execPath, requests, kind, file, String(count), String(depth), stride],
    best: [qemu(...theirs, file)],
    plain: qemu(...theirs, file),
    ...(writes && { before: qemu("create", "-q", "-f", "qcow2", target, size) }),
    said: /Run completed in ([0-9.]+) seconds/,
  };
}

/** All cells for data of a scale: `metadata` and `requests` are its sizes. */
export function cells(metadata: string, requestSize: string): readonly Cell[] {
  const zstd = ["-o", "compression_type=zstd"];
  const create = (mode: string, size: string): string[] => [
    "create",
    "-q",
    "-f",
    "qcow2",
    "-o",
    `preallocation=${mode}`,
    target,
    size,
  ];
  return [
    conversion("raw-qcow2", 1, 1.4, "qcow2", "disk.raw"),
    conversion("qcow2-raw", 1, 1.4, "raw", "plain.qcow2"),
    conversion("qcow2-qcow2", 1, 1.4, "qcow2", "plain.qcow2"),
    conversion("mix-qcow2", 1, 1.4, "qcow2", "mix.raw"),
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
    { ...same("create-full", 1, 2, ...create("full", requestSize)), makes: { format: "qcow2" } },
    requestCell("read-1", 1, 20_000, requestSize, false),
    requestCell("read-64", 64, 100_000, requestSize, false),
    requestCell("write-1", 1, 2000, requestSize, true),
    requestCell("write-64", 64, 2000, requestSize, true),
    same("info", 0.2, 1, "info", "small.qcow2"),
  ];
}
