import { parseSize } from "./contract.ts";
import { readCNumber } from "./numbers.ts";
import type { Parsed } from "./parse.ts";
import type { OptionSpec } from "./spec.ts";
import { argumentError } from "./usage.ts";

/** More threads than any machine that images are converted on has processors. */
const mostThreads = 1024;

/** With less than this, two segments and what they are packed into do not fit. */
const leastMemory = 8 * 1024 * 1024;

/** What `-o` calls the level of compression, which is no property of the image that is made. */
const levelName = "compression_level";

/** How much of the machine a copy takes. */
export const copySpeedOptions: readonly OptionSpec[] = [
  {
    id: "threads",
    friendly: "threads",
    face: "platter",
    argument: "number",
    summary:
      "threads that compress and decompress; one for each processor if not given. The result does not depend on it",
    group: "Behaviour",
    check: (value) => readNumber("--threads", value, 1, mostThreads),
  },
  {
    id: "memory",
    friendly: "memory",
    face: "platter",
    argument: "size",
    summary: "most memory for data on its way, at least 8M; 128M if not given",
    group: "Behaviour",
    check: (value) => readMemory(value),
  },
];

/** The values of {@link copySpeedOptions}. */
export function copySpeed(parsed: Parsed): {
  readonly threads?: number;
  readonly memory?: number;
} {
  const threads = parsed.value("threads");
  const memory = parsed.value("memory");
  return {
    ...(threads !== undefined && { threads: readNumber("--threads", threads, 1, mostThreads) }),
    ...(memory !== undefined && { memory: readMemory(memory) }),
  };
}

type Pair = readonly [name: string, value: string];

/** Takes `compression_level` out of what `-o` says. Throws unless `compress` and the type has the level. */
export function takeCompressionLevel(
  pairs: readonly Pair[],
  compress: boolean,
): { readonly pairs: readonly Pair[]; readonly level: number | undefined } {
  const given = pairs.findLast(([name]) => name === levelName);
  if (given === undefined) return { pairs, level: undefined };
  if (!compress) {
    throw argumentError(
      levelName,
      given[1],
      "compression_level says how hard to compress, but nothing is compressed: add -c, or leave it out.",
      `Invalid parameter '${levelName}'`,
    );
  }
  const isZstd = pairs.findLast(([name]) => name === "compression_type")?.[1] === "zstd";
  const level = readNumber(levelName, given[1], 1, isZstd ? 19 : 9);
  return { pairs: pairs.filter(([name]) => name !== levelName), level };
}

function readMemory(value: string): number {
  const memory = parseSize(value, { what: "--memory" });
  if (memory >= leastMemory) return memory;
  throw argumentError(
    "--memory",
    value,
    `--memory takes a size of at least 8M, not ${value}.`,
    `Invalid value '${value}' for --memory`,
  );
}

function readNumber(what: string, value: string, least: number, most: number): number {
  const number = readCNumber(value);
  if (number !== undefined && number >= least && number <= most) return number;
  throw argumentError(
    what,
    value,
    `${what} takes a number from ${least} to ${most}, not "${value}".`,
    `Invalid value '${value}' for ${what}`,
  );
}
