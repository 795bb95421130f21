import { parseSize } from "./contract.ts";
import { checkOptionList } from "./format-options.ts";
import type { Parsed } from "./parse.ts";
import type { Session } from "./session.ts";
import type { OptionSpec } from "./spec.ts";
import { argumentError } from "./usage.ts";

/** `-f`: the format of the image that is read. */
export const formatOption: OptionSpec = {
  id: "format",
  short: "f",
  friendly: "format",
  argument: "fmt",
  completes: "format",
  summary: "format of the image; found out from its contents if not given",
  group: "Images",
};

/** `-f` of the commands whose qemu-img counterpart has the long name too. */
export const longFormatOption: OptionSpec = { ...formatOption, long: "format" };

/** `-U`: others may have the image open for writing. */
export const shareOption: OptionSpec = {
  id: "shared",
  short: "U",
  long: "force-share",
  summary:
    "open the image even if another program is writing to it; the result may be inconsistent",
  group: "Behaviour",
};

/** `-q`. */
export const quietOption: OptionSpec = {
  id: "quiet",
  short: "q",
  friendly: "quiet",
  summary: "print nothing but errors",
  group: "Output",
};

/** `-p` and, in the `platter` face, `--progress`. */
export const progressOptions: readonly OptionSpec[] = [
  {
    id: "progress",
    short: "p",
    summary: "show how far the work has come",
    group: "Output",
  },
  ...progressModeOption(),
];

/** `--progress=MODE` alone, for commands whose qemu-img counterpart has no `-p`. */
export function progressModeOption(): OptionSpec[] {
  return [
    {
      id: "progressMode",
      friendly: "progress",
      argument: "mode",
      completes: ["bar", "json", "none"],
      summary: "bar, json (one object a line on stderr) or none; a bar on a terminal if not given",
      group: "Output",
      face: "platter",
      check: (value) => {
        if (["bar", "json", "none"].includes(value)) return;
        const message = `--progress takes bar, json or none, not "${value}".`;
        throw argumentError("progress", value, message, message);
      },
    },
  ];
}

/** `--json` of the `platter` face. */
export const jsonOption: OptionSpec = {
  id: "json",
  friendly: "json",
  summary: "print the result as JSON",
  group: "Output",
  face: "platter",
};

/** `--output=human|json`. */
export const outputOption: OptionSpec = {
  id: "output",
  long: "output",
  argument: "ofmt",
  completes: ["human", "json"],
  summary: "human or json",
  group: "Output",
};

/** Options that name QEMU's own objects; for images in later versions. */
export const objectOption: OptionSpec = {
  id: "object",
  long: "object",
  argument: "objectdef",
  summary: "define an object such as a secret",
  group: "For qemu-img's sake",
  repeatable: true,
  refused: true,
};

/** `--image-opts`. */
export const imageOptsOption: OptionSpec = {
  id: "imageOpts",
  long: "image-opts",
  summary: "read image names as option lists",
  group: "For qemu-img's sake",
  refused: true,
};

const CACHE_MODES = ["none", "off", "directsync", "writeback", "unsafe", "writethrough"];

/** `-T`: how sources are cached. Reading is the same for all of them here. */
export const sourceCacheOption: OptionSpec = {
  id: "sourceCache",
  short: "T",
  argument: "src_cache",
  completes: CACHE_MODES,
  summary:
    "cache mode for reading: none, writeback, unsafe, writethrough or directsync; checked, and without effect on the result",
  group: "For qemu-img's sake",
};

/** Checks the value of `-T`; qemu-img does it after the operands. */
export function checkSourceCache(value: string | undefined): void {
  if (value !== undefined && !CACHE_MODES.includes(value)) {
    throw badCacheMode("source cache", value);
  }
}

/**
 * Checks the value of `-t` and tells whether the target has to be on stable storage before success
 * is reported: for every mode but `unsafe`, the default.
 */
export function needsSync(value: string | undefined): boolean {
  if (value !== undefined && !CACHE_MODES.includes(value)) throw badCacheMode("cache", value);
  return value !== undefined && value !== "unsafe";
}

function badCacheMode(what: string, value: string): Error {
  return argumentError(
    what,
    value,
    `"${value}" is not a cache mode: use ${CACHE_MODES.filter((mode) => mode !== "off").join(", ")}.`,
    `Invalid ${what} option: ${value}`,
  );
}

/** `-o`: creation options, collected over repeats. */
export const formatOptionsOption: OptionSpec = {
  id: "options",
  short: "o",
  friendly: "options",
  argument: "options",
  summary:
    "creation options of the format, as name=value separated by commas (a comma inside a value is doubled); 'help' lists them",
  group: "Result",
  repeatable: true,
  check: checkOptionList,
};

/** A check for options that take a size, named as qemu-img names it in messages. */
export function sizeCheck(what: string): (value: string, session: Session) => void {
  return (value, session) => {
    parseSize(value, { what, onWarning: session.warn });
  };
}

/** Whether the output is JSON, by `--output` and `--json`. */
export function wantsJson(parsed: Pick<Parsed, "has" | "value">): boolean {
  const output = parsed.value("output");
  if (output !== undefined && output !== "human" && output !== "json") {
    throw argumentError(
      "--output",
      output,
      `--output takes human or json, not "${output}".`,
      "--output must be used with human or json as argument.",
    );
  }
  return output === "json" || parsed.has("json");
}
