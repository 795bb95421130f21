import { PlatterError } from "../../errors.ts";
import {
  type CreateOptions,
  type CreateResult,
  formatSize,
  type FormatServices,
  parseSize,
} from "../contract.ts";
import { printOptionHelp, splitOptionList, writableFormat } from "../format-options.ts";
import { plainJson } from "../json.ts";
import {
  formatOptionsOption,
  jsonOption,
  objectOption,
  quietOption,
  syncOption,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError, usageError } from "../usage.ts";
import { type TargetOptions, targetOptions } from "./target-options.ts";

/** The table entry of `create`. */
export const createCommand: CommandSpec = {
  name: "create",
  summary: "make a new image",
  description:
    "Makes an image of the given size, or of its backing file's size. An existing file of that name is replaced.",
  operands: "filename [size]",
  options: [
    objectOption,
    quietOption,
    {
      id: "format",
      short: "f",
      friendly: "format",
      argument: "fmt",
      summary: "format of the new image; raw if not given",
      group: "Result",
    },
    {
      id: "backing",
      short: "b",
      friendly: "backing",
      argument: "backing_file",
      summary: "the new image is an overlay: what it does not hold itself is read from this image",
      group: "Result",
    },
    {
      id: "backingFormat",
      short: "F",
      friendly: "backing-format",
      argument: "backing_fmt",
      summary: "format of the backing file; has to be given with -b",
      group: "Result",
    },
    {
      id: "unsafe",
      short: "u",
      friendly: "unsafe",
      summary:
        "do not look at the backing file, which need not exist; the size has to be given then",
      group: "Behaviour",
    },
    formatOptionsOption,
    syncOption,
    jsonOption,
  ],
  examples: [
    { line: "create -f qcow2 disk.qcow2 20G", explanation: "An empty disk of 20 GiB" },
    {
      line: "create -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2",
      explanation: "An overlay that starts as a copy of base.qcow2 and takes up nothing",
    },
    {
      line: "create -f qcow2 -o cluster_size=2M,preallocation=metadata disk.qcow2 1T",
      explanation: "With creation options; -o help lists them",
    },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const [name, sizeText, ...others] = parsed.operands;
  const formatName = parsed.value("format") ?? "raw";
  const list = splitOptionList(parsed.values("options"));
  const formats = await session.services.formats();
  if (list.help) {
    const format = writableFormat(formats, formatName, undefined);
    printOptionHelp(session, formats, format, name !== undefined);
    return 0;
  }
  if (name === undefined) throw usageError("Name the image to make.", "Expecting image file name");
  const size =
    sizeText === undefined
      ? undefined
      : parseSize(sizeText, { what: "image size", roundTo: 512, onWarning: session.warn });
  const [unexpected] = others;
  if (unexpected !== undefined) {
    throw usageError(
      `"${unexpected}" is one word too many: a file name and a size are expected.`,
      `Unexpected argument: ${unexpected}`,
    );
  }
  const format = writableFormat(formats, formatName, name);
  await namingFile(name, async () => {
    const target = readTarget(formats, format, list.pairs, parsed);
    await make(createOptions(name, format, size, target, parsed), parsed, session);
  });
  return 0;
}

function readTarget(
  formats: FormatServices,
  format: string,
  pairs: ReadonlyArray<readonly [string, string]>,
  parsed: Parsed,
): TargetOptions {
  const target = targetOptions(formats, format, pairs, {
    name: parsed.value("backing"),
    format: parsed.value("backingFormat"),
  });
  if (parsed.has("unsafe") && target.backing !== undefined && target.backing.format === undefined) {
    throw argumentError(
      "backing format",
      undefined,
      `Say with -F which format the backing file "${target.backing.name}" has.`,
      "Backing file specified without backing format",
    );
  }
  return target;
}

/** qemu-img names the new file in front of everything that goes wrong in making it. */
async function namingFile<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    const words = error.details.qemu ?? error.message;
    const qemu = words.startsWith(`${name}: `) ? words : `${name}: ${words}`;
    throw new PlatterError(error.code, error.message, { ...error.details, qemu, cause: error });
  }
}

function createOptions(
  name: string,
  format: string,
  size: number | undefined,
  target: TargetOptions,
  parsed: Parsed,
): CreateOptions {
  if (size !== undefined && target.size !== undefined) {
    throw argumentError(
      "size",
      String(size),
      "The size is given twice: behind the file name and with -o size.",
      `The image size must be specified only once`,
    );
  }
  const bytes = size ?? target.size;
  return {
    name,
    format,
    ...(bytes === undefined ? {} : { size: bytes }),
    ...(target.backing === undefined ? {} : { backing: target.backing }),
    unsafe: parsed.has("unsafe"),
    sync: parsed.has("sync"),
    formatOptions: target.values,
  };
}

async function make(options: CreateOptions, parsed: Parsed, session: Session): Promise<void> {
  const create = await session.services.command("create");
  const speaks = !parsed.has("quiet");
  let announced = false;
  // qemu-img says what it is about to do, so that the line is there even if it fails.
  const onStart = (planned: CreateResult): void => {
    if (announced || !speaks || session.face !== "qemu") return;
    announced = true;
    session.print(formattingLine(planned));
  };
  const result = await create({ ...options, onStart }, await session.context());
  onStart(result);
  if (!speaks || session.face === "qemu") return;
  session.print(parsed.has("json") ? friendlyJson(result) : friendlyText(result, session));
}

/** Values as they are, without quotes; a comma in one is doubled. */
function formattingLine({ name, format, options }: CreateResult): string {
  const words = options.map(([key, value]) => ` ${key}=${optionText(value)}`);
  return `Formatting '${name}', fmt=${format}${words.join("")}\n`;
}

function optionText(value: string | number | boolean): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number") return String(BigInt(value));
  return value.replaceAll(",", ",,");
}

function friendlyJson({ name, format, size, options }: CreateResult): string {
  return `${plainJson({
    filename: name,
    format,
    "virtual-size": size,
    options: Object.fromEntries(options),
  })}\n`;
}

function friendlyText({ name, format, size, options }: CreateResult, session: Session): string {
  const extras = options
    .filter(([key]) => key !== "size")
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : optionText(value)}`);
  const line = `Created ${session.paint("name", session.safe(name))}: ${format}, ${formatSize(size)}`;
  return `${line}${extras.length === 0 ? "" : session.paint("faint", ` (${session.safe(extras.join(", "))})`)}\n`;
}
