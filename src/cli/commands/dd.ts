import { type DdOptions, type DdResult, formatSize, parseSize } from "../contract.ts";
import { plainJson } from "../json.ts";
import { MAX_INT } from "../numbers.ts";
import {
  checkImageOpts,
  formatOption,
  imageOptsOption,
  jsonOption,
  objectOption,
  progressModeOption,
  shareOption,
  syncOption,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError } from "../usage.ts";

/** The table entry of `dd`. */
export const ddCommand: CommandSpec = {
  name: "dd",
  summary: "copy a range of blocks of a disk into a new image",
  description:
    "Copies blocks of the disk in the image `if` into the image `of`, which is made anew; with conv=notrunc an existing one is kept and grows where needed. count= is the block of the source where copying ends, counted from its start even with skip=: so counts qemu-img. Blocks have 512 bytes if bs= is not given; numbers may have the suffixes k, M, G, T, P, E.",
  operands:
    "[bs=block_size] [count=blocks] [skip=blocks] [seek=blocks] [conv=notrunc] if=input of=output",
  options: [
    objectOption,
    {
      ...imageOptsOption,
      summary: "if= is a list of options; of= is not, as in qemu-img",
    },
    shareOption,
    { ...formatOption, friendly: "source-format", summary: "format of the source" },
    {
      id: "targetFormat",
      short: "O",
      friendly: "target-format",
      argument: "output_fmt",
      summary: "format of the target; raw if not given",
      group: "Result",
    },
    ...progressModeOption(),
    syncOption,
    jsonOption,
  ],
  examples: [
    {
      line: "dd if=disk.qcow2 of=boot.raw bs=1M count=1",
      explanation: "The first mebibyte as a raw file",
    },
    {
      line: "dd if=boot.raw of=disk.qcow2 -O qcow2 conv=notrunc",
      explanation: "Put it back, leaving the rest of the disk alone",
    },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const operands = readOperands(parsed.operands, session);
  const { if: source, of: target } = operands;
  if (source === undefined || target === undefined) {
    throw argumentError(
      "operands",
      undefined,
      "Name the source with if= and the target with of=.",
      "Must specify both input and output files",
    );
  }
  checkImageOpts(parsed);
  const format = parsed.value("format");
  const options: DdOptions = {
    source,
    target,
    ...(format === undefined ? {} : { sourceFormat: format }),
    targetFormat: parsed.value("targetFormat") ?? "raw",
    imageOpts: parsed.has("imageOpts"),
    shared: parsed.has("shared"),
    ...operands.numbers,
    keepTarget: operands.keepTarget,
    sync: parsed.has("sync"),
  };
  const dd = await session.services.command("dd");
  const result = await session.withProgress(parsed, { step: 1, eager: false }, async (display) => {
    const done = await dd(options, await session.context(display.update));
    display.finish();
    return done;
  });
  if (result.skippedAll) {
    if (session.face === "qemu") {
      session.note(`qemu-img: ${session.safe(source)}: cannot skip to specified offset`);
    } else
      session.warn(`${source}: the source ends before the block to begin at; nothing was copied`);
  }
  if (session.face === "platter") show(result, parsed.has("json"), session);
  return 0;
}

interface Operands {
  readonly if: string | undefined;
  readonly of: string | undefined;
  readonly numbers: Pick<DdOptions, "blockSize" | "count" | "skip" | "seek">;
  readonly keepTarget: boolean;
}

const numberNames = { bs: "blockSize", count: "count", skip: "skip", seek: "seek" } as const;

function readOperands(words: readonly string[], session: Session): Operands {
  const files: { if?: string; of?: string } = {};
  const numbers: { blockSize?: number; count?: number; skip?: number; seek?: number } = {};
  let keepTarget = false;
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const value = equals < 0 ? undefined : word.slice(equals + 1);
    if (value === undefined || !isOperand(name)) throw unrecognized(name);
    if (name === "if" || name === "of") files[name] = value;
    else if (name === "conv") {
      if (value !== "notrunc") throw unrecognized(name);
      keepTarget = true;
    } else numbers[numberNames[name]] = readNumber(name, value, session);
  }
  return { if: files.if, of: files.of, numbers, keepTarget };
}

type OperandName = "if" | "of" | "conv" | keyof typeof numberNames;

const isOperand = (name: string): name is OperandName =>
  ["if", "of", "conv", ...Object.keys(numberNames)].includes(name);

function readNumber(name: string, value: string, session: Session): number {
  const limits = name === "bs" ? { minimum: 1, maximum: MAX_INT } : {};
  return parseSize(value, { what: name, onWarning: session.warn, roundTo: 512, ...limits });
}

function unrecognized(name: string): Error {
  return argumentError(
    "operands",
    name,
    `dd does not know "${name}": it takes if=, of=, bs=, count=, skip=, seek= and conv=notrunc.`,
    `unrecognized operand ${name}`,
  );
}

function show({ target, format, copied, size }: DdResult, json: boolean, session: Session): void {
  if (json) {
    session.print(`${plainJson({ filename: target, format, copied, "virtual-size": size })}\n`);
    return;
  }
  const name = session.paint("name", session.safe(target));
  session.print(`Wrote ${formatSize(copied)} to ${name}: ${format}, ${formatSize(size)}\n`);
}
