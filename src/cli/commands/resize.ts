import { formatSize, readSize, type ResizeResult } from "../contract.ts";
import { plainJson } from "../json.ts";
import {
  checkImageOpts,
  formatOption,
  imageOptsOption,
  jsonOption,
  objectOption,
  quietOption,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError, usageError } from "../usage.ts";
import { formatArgument } from "./operands.ts";

const modes = ["off", "metadata", "falloc", "full"] as const;

/** The table entry of `resize`. */
export const resizeCommand: CommandSpec = {
  name: "resize",
  summary: "make a disk larger or smaller",
  description:
    "Changes the size of the disk that a guest sees: to a size, by +size or by -size. What is added reads as zeros. Making a disk smaller deletes what is behind the new end, so it has to be asked for with --shrink; partitions and filesystems are the guest's business.",
  operands: "filename [+|-]size",
  lastWordIsOperand: true,
  options: [
    objectOption,
    imageOptsOption,
    formatOption,
    {
      id: "preallocation",
      long: "preallocation",
      argument: "prealloc",
      completes: modes,
      summary: "how the new part gets its space: off, metadata, falloc or full",
      group: "Result",
    },
    quietOption,
    {
      id: "shrink",
      long: "shrink",
      summary: "allow the disk to become smaller",
      group: "Behaviour",
    },
    jsonOption,
  ],
  examples: [
    { line: "resize disk.qcow2 +10G", explanation: "Ten GiB more" },
    {
      line: "resize --shrink disk.qcow2 20G",
      explanation: "No more than 20 GiB, whatever is behind",
    },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const [name, size, ...others] = parsed.operands;
  if (size === undefined && parsed.given.length === 0) {
    throw usageError("Name the image and its new size.", "Not enough arguments");
  }
  if (name === undefined || size === undefined || others.length > 0) {
    throw usageError(
      `The image and its new size are expected, ${parsed.operands.length} words are there.`,
      "Expecting image file name and size",
    );
  }
  const mode = parsed.value("preallocation") ?? "off";
  const preallocation = modes.find((known) => known === mode);
  if (preallocation === undefined) {
    throw argumentError(
      "preallocation",
      mode,
      `--preallocation takes ${modes.join(", ")}, not "${mode}".`,
      `Invalid preallocation mode '${mode}'`,
    );
  }
  const wanted = readWanted(size);
  checkImageOpts(parsed);
  const resize = await session.services.command("resize");
  const result = await resize(
    {
      name,
      ...formatArgument(parsed),
      imageOpts: parsed.has("imageOpts"),
      ...wanted,
      shrink: parsed.has("shrink"),
      preallocation,
    },
    await session.context(),
  );
  if (parsed.has("quiet")) return 0;
  if (parsed.has("json")) session.print(`${plainJson(toJson(result))}\n`);
  else if (session.face === "qemu") session.print("Image resized.\n");
  else {
    const { filename, oldSize, newSize } = result;
    session.print(
      `${session.safe(filename)}: ${formatSize(oldSize)}, now ${formatSize(newSize)}\n`,
    );
  }
  return 0;
}

/** "20G", "+10G" or "-1M". @throws `E_INVALID_SIZE` with QEMU's words */
function readWanted(text: string): { size: number; relative?: "grow" | "shrink" } {
  const sign = text.charAt(0);
  const relative = sign === "+" ? "grow" : sign === "-" ? "shrink" : undefined;
  const number = relative === undefined ? text : text.slice(1);
  const reading = readSize(number);
  if (reading.kind !== "size") {
    const qemu =
      reading.kind === "range"
        ? `Value '${number}' is out of range for parameter 'size'`
        : "Parameter 'size' expects a non-negative number below 2^64\n" +
          "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n" +
          "and exabytes, respectively.";
    throw argumentError("size", text, `"${text}" is no size: say 20G, +10G or -1M.`, qemu);
  }
  const size = Number(reading.value);
  return relative === undefined ? { size } : { size, relative };
}

const toJson = ({ filename, format, oldSize, newSize }: ResizeResult) => ({
  filename,
  format,
  "old-size": oldSize,
  "virtual-size": newSize,
});
