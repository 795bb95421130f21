import { parseSize } from "./contract.ts";
import { checkOptionList } from "./format-options.ts";
import { addObject } from "./objects.ts";
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

/** `--object`. */
export const objectOption: OptionSpec = {
  id: "object",
  long: "object",
  argument: "objectdef",
  summary: "define an object such as a secret: type,id=name,property=value, or the same as JSON",
  group: "For qemu-img's sake",
  repeatable: true,
  check: addObject,
  different:
    "Secrets only: other types have nothing here that could use them, and are refused. `help` does not list types.",
};

/** `--image-opts`. */
export const imageOptsOption: OptionSpec = {
  id: "imageOpts",
  long: "image-opts",
  summary: "image names are lists of options, as in driver=qcow2,file.filename=disk.qcow2",
  group: "Images",
  different:
    "The drivers file, host_device, raw and qcow2; others are refused by name. What would change the way of writing (detect-zeroes, discard=ignore, pass-discard-*) is refused for images that are written; aio=native and io_uring go through threads, with a warning; the sizes of the cache for L2 tables are kept to, options about the inside of QEMU's caches are checked and mean nothing here.",
};

/** `--image-opts` and `-f` contradict each other. @throws `E_INVALID_ARGUMENT` */
export function checkImageOpts(parsed: Pick<Parsed, "has">): void {
  if (!parsed.has("imageOpts") || !parsed.has("format")) return;
  throw argumentError(
    "--image-opts",
    undefined,
    "With --image-opts the format is one of the options (driver=qcow2); leave -f out.",
    "--image-opts and --format are mutually exclusive",
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

/** `-r`. */
export const rateLimitOption: OptionSpec = {
  id: "rateLimit",
  short: "r",
  friendly: "rate-limit",
  argument: "rate_limit",
  summary: "most bytes of data copied in a second",
  group: "Behaviour",
  check: sizeCheck("rate limit"),
};

/** `--sync` of commands that make images; those that change images always do so. */
export const syncOption: OptionSpec = {
  id: "sync",
  friendly: "sync",
  summary: "have everything on stable storage before success is reported",
  group: "Behaviour",
  face: "platter",
};

/** `-t` of commands that change existing images. */
export const targetCacheOption: OptionSpec = {
  id: "cache",
  short: "t",
  argument: "cache",
  completes: ["none", "writeback", "unsafe", "writethrough", "directsync"],
  summary: "cache mode for writing: writeback (default), writethrough, none, directsync or unsafe",
  group: "Behaviour",
};
