import {
  type BenchOptions,
  type BenchResult,
  formatSize,
  nativeNeedsDirect,
  parseSize,
} from "../contract.ts";
import { type CacheMode, readCacheMode } from "../cache-mode.ts";
import { plainJson } from "../json.ts";
import { MAX_INT, readCNumber } from "../numbers.ts";
import {
  checkImageOpts,
  formatOption,
  imageOptsOption,
  jsonOption,
  quietOption,
  shareOption,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec, OptionSpec } from "../spec.ts";
import { argumentError } from "../usage.ts";
import { singleOperand } from "./operands.ts";

const AIO_KINDS = ["threads", "native", "io_uring"];

/** The table entry of `bench`. */
export const benchCommand: CommandSpec = {
  name: "bench",
  summary: "take the time that many requests to an image need",
  description:
    "Reads, or with -w writes, blocks at regular distances, and prints how long it took. Writing destroys what is on the disk.",
  operands: "filename",
  options: [
    {
      ...countOption("count", "c", "count", "requests in all; 75000 if not given"),
      check: numberCheck("request count"),
    },
    {
      ...countOption("depth", "d", "depth", "requests under way at once; 64 if not given"),
      check: numberCheck("queue depth"),
      better: "A depth of 0 is refused; qemu-img waits for ever.",
    },
    formatOption,
    {
      id: "flushInterval",
      long: "flush-interval",
      argument: "flush_interval",
      summary: "with -w: flush after so many writes; never if not given",
      group: "Behaviour",
      check: numberCheck("flush interval"),
    },
    {
      id: "aio",
      short: "i",
      argument: "aio",
      summary: "threads, native or io_uring",
      group: "For qemu-img's sake",
      check: checkAio,
      different:
        "Requests go through Node's threads. native and io_uring are checked as qemu-img does, and then a warning says so.",
    },
    {
      id: "nativeAio",
      short: "n",
      summary: "the same as -i native",
      group: "For qemu-img's sake",
      different: "As -i native.",
    },
    {
      id: "noDrain",
      long: "no-drain",
      summary: "do not wait for the requests under way before a flush",
      group: "Behaviour",
    },
    {
      id: "offset",
      short: "o",
      friendly: "offset",
      argument: "offset",
      summary: "where the first request begins; 0 if not given",
      group: "Behaviour",
      check: sizeReader("offset"),
    },
    {
      id: "pattern",
      long: "pattern",
      argument: "pattern",
      summary: "the byte that is written, 0 to 255; 0 if not given",
      group: "Behaviour",
      check: checkPattern,
    },
    quietOption,
    {
      id: "bufferSize",
      short: "s",
      friendly: "buffer-size",
      argument: "buffer_size",
      summary: "bytes of a request; 4k if not given",
      group: "Behaviour",
      check: sizeReader("buffer size", MAX_INT),
    },
    {
      id: "step",
      short: "S",
      friendly: "step",
      argument: "step_size",
      summary: "bytes from one request to the next; the size of a request if not given",
      group: "Behaviour",
      check: sizeReader("step_size", MAX_INT),
    },
    {
      id: "cache",
      short: "t",
      argument: "cache",
      summary: "cache mode: writeback (default), writethrough, none, directsync or unsafe",
      group: "Behaviour",
      check: (value) => void readCacheMode(value, ""),
    },
    {
      id: "write",
      short: "w",
      friendly: "write",
      summary: "write instead of reading",
      group: "Behaviour",
    },
    shareOption,
    imageOptsOption,
    jsonOption,
  ],
  examples: [
    { line: "bench -c 10000 -d 16 disk.qcow2", explanation: "10000 reads, 16 of them at a time" },
    {
      line: "bench -w -t none -f qcow2 --flush-interval=64 scratch.qcow2",
      explanation: "Writes past the page cache, flushed now and then",
    },
  ],
  run,
};

function countOption(id: string, short: string, friendly: string, summary: string): OptionSpec {
  return { id, short, friendly, argument: friendly, summary, group: "Behaviour" };
}

function numberCheck(what: string): (value: string) => void {
  return (value) => {
    const number = readCNumber(value);
    if (number !== undefined && number <= MAX_INT) return;
    const message = `"${value}" is no ${what}: a number up to ${MAX_INT} is expected.`;
    throw argumentError(what, value, message, `Invalid ${what} specified`);
  };
}

function sizeReader(what: string, maximum?: number): (value: string, session: Session) => void {
  return (value, session) => {
    const limits = maximum === undefined ? {} : { maximum };
    parseSize(value, { what, onWarning: session.warn, ...limits });
  };
}

function checkAio(value: string): void {
  if (AIO_KINDS.includes(value)) return;
  const message = `-i takes ${AIO_KINDS.join(", ")}, not "${value}".`;
  throw argumentError("-i", value, message, `Invalid aio option: ${value}`);
}

function checkPattern(value: string): void {
  const number = readCNumber(value);
  if (number !== undefined && number <= 0xff) return;
  const message = `"${value}" is no byte: a number up to 255 is expected.`;
  throw argumentError("--pattern", value, message, "Invalid pattern byte specified");
}

async function run(parsed: Parsed, session: Session): Promise<number> {
  const name = singleOperand(parsed);
  const write = parsed.has("write");
  const number = (id: string, standard: number): number =>
    readCNumber(parsed.value(id) ?? String(standard)) ?? standard;
  const depth = number("depth", 64);
  const flushInterval = number("flushInterval", 0);
  checkFlushing(write, flushInterval, depth);
  if (depth === 0) {
    const message = "With a depth of 0 no request would ever be sent.";
    throw argumentError("-d", "0", message, "Invalid queue depth specified");
  }
  checkImageOpts(parsed);
  const cache = readCacheMode(parsed.value("cache") ?? "writeback", "");
  warnAboutAio(parsed, name, cache, session);
  const size = (id: string, standard: string): number => parseSize(parsed.value(id) ?? standard);
  const bufferSize = size("bufferSize", "4k");
  const format = parsed.value("format");
  const options: BenchOptions = {
    name,
    ...(format === undefined ? {} : { format }),
    imageOpts: parsed.has("imageOpts"),
    count: number("count", 75_000),
    depth,
    offset: size("offset", "0"),
    bufferSize,
    step: size("step", "0") || bufferSize,
    write,
    pattern: number("pattern", 0),
    flushInterval,
    drain: !parsed.has("noDrain"),
    writethrough: cache.writethrough,
    unsafe: cache.unsafe,
    direct: cache.direct,
    shared: parsed.has("shared"),
    onStart: () => announce(options, session),
    now: session.environment.now,
  };
  const bench = await session.services.command("bench");
  const result = await bench(options, await session.context());
  show(result, parsed, session);
  return 0;
}

function checkFlushing(write: boolean, interval: number, depth: number): void {
  if (interval > 0 && !write) {
    throw argumentError(
      "--flush-interval",
      String(interval),
      "Only writes are flushed: add -w, or leave --flush-interval out.",
      "--flush-interval is only available in write tests",
    );
  }
  if (interval > 0 && interval < depth) {
    throw argumentError(
      "--flush-interval",
      String(interval),
      `The flush interval ${interval} is smaller than the depth ${depth}.`,
      "Flush interval can't be smaller than depth",
    );
  }
}

function warnAboutAio(parsed: Parsed, name: string, cache: CacheMode, session: Session): void {
  const aio = parsed.has("nativeAio") ? "native" : (parsed.value("aio") ?? "threads");
  if (aio === "native" && !cache.direct) {
    const error = nativeNeedsDirect();
    const qemu = `Could not open '${name}': ${error.details.qemu ?? ""}`;
    throw argumentError("-i", aio, error.message, qemu);
  }
  if (aio !== "threads") session.warn(`aio=${aio} is not there; requests go through threads`);
}

/** qemu-img prints it before the first request; it may be all that is printed. */
function announce(options: BenchOptions, session: Session): void {
  if (session.face !== "qemu") return;
  const { count, write = false, bufferSize, depth, offset, step, flushInterval = 0 } = options;
  session.print(
    `Sending ${count} ${write ? "write" : "read"} requests, ${bufferSize} bytes each, ` +
      `${depth} in parallel (starting at offset ${BigInt(offset)}, step size ${step})\n`,
  );
  if (flushInterval > 0) session.print(`Sending flush every ${flushInterval} requests\n`);
}

function show({ requests, bytes, seconds }: BenchResult, parsed: Parsed, session: Session): void {
  if (session.face === "qemu") {
    session.print(`Run completed in ${seconds.toFixed(3)} seconds.\n`);
    return;
  }
  if (parsed.has("json")) {
    session.print(`${plainJson({ requests, bytes, seconds: Number(seconds.toFixed(6)) })}\n`);
    return;
  }
  if (parsed.has("quiet")) return;
  const rate = seconds > 0 ? Math.round(requests / seconds) : 0;
  const throughput = seconds > 0 ? formatSize(Math.round(bytes / seconds)) : "0 B";
  session.print(
    `${requests} ${parsed.has("write") ? "writes" : "reads"} in ${seconds.toFixed(3)} s: ` +
      `${rate} a second, ${throughput}/s\n`,
  );
}
