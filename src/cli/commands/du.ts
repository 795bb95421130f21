import { formatSize, type DuResult, type ImageUsage } from "../contract.ts";
import { plainJson } from "../json.ts";
import { alignColumns, wrap } from "../layout.ts";
import { jsonOption, longFormatOption, progressModeOption } from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { usageError } from "../usage.ts";
import { formatArgument } from "./operands.ts";

/** The table entry of `du`. */
export const duCommand: CommandSpec = {
  name: "du",
  face: "platter",
  summary: "show what images take: length, allocation, contents, preallocation",
  description:
    "One row an image: the size of the guest's disk, the length of the file as ls shows it, what the host has allocated as du shows it, how much of the disk has been written at most, and how the image was preallocated, found out from its tables and the host's extents. Below that the space on the host, and why the columns differ. Images that a guest is running on can be measured; files that an image names are not opened.",
  operands: "filename...",
  options: [
    longFormatOption,
    {
      id: "scan",
      friendly: "scan",
      summary: "read what has been written and count the bytes that are not zero",
      group: "Behaviour",
    },
    jsonOption,
    ...progressModeOption(),
  ],
  examples: [
    { line: "du *.qcow2 *.img", explanation: "Which image takes what, and why?" },
    { line: "du --scan disk.img", explanation: "How much of it is not zero?" },
    { line: "du --json disk.qcow2", explanation: "The same for a program, in bytes" },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  if (parsed.operands.length === 0) {
    throw usageError("Name one image or more.", "Expecting an image file name");
  }
  const options = {
    names: parsed.operands,
    ...formatArgument(parsed),
    scan: parsed.has("scan"),
  };
  const du = await session.services.command("du");
  const result = await session.withProgress(parsed, { step: 1, eager: false }, async (display) => {
    const found = await du(options, await session.context((progress) => display.update(progress)));
    display.finish();
    return found;
  });
  session.print(
    parsed.has("json") ? `${plainJson(toJson(result))}\n` : await text(result, session),
  );
  return 0;
}

function toJson({ images, volumes }: DuResult) {
  return {
    images: images.map((image) => ({
      filename: image.filename,
      format: image.format,
      "virtual-size": image.virtualSize,
      "file-length": image.fileLength,
      allocated: image.allocated,
      written: image.written,
      ...(image.nonZero && {
        "non-zero": image.nonZero.bytes,
        "non-zero-blocks": image.nonZero.blocks,
      }),
      preallocation: image.preallocation,
      places: { ...image.places },
      growth: image.growth,
      "backing-filename": image.backingFilename,
    })),
    volumes: volumes.map((volume) => ({
      filesystem: volume.filesystem,
      size: volume.size,
      free: volume.free,
      inodes: volume.inodes,
      "free-inodes": volume.freeInodes,
      filenames: [...volume.filenames],
      growth: volume.growth,
      overcommitted: volume.overcommitted,
    })),
  };
}

const modes: Readonly<Record<ImageUsage["preallocation"], string>> = {
  off: "off",
  metadata: "metadata",
  falloc: "falloc",
  full: "full or all written",
  mixed: "mixed",
  unknown: "unknown",
};

async function text(result: DuResult, session: Session): Promise<string> {
  const { explainUsage, explainVolumes, percent } = await session.services.usageWords();
  const { paint, safe, environment } = session;
  const width = Math.min(environment.stdout.columns, 100);
  const isScanned = result.images.some((image) => image.nonZero !== undefined);
  const heads = ["Image", "Format", "Disk", "File", "On host", "Written"];
  if (isScanned) heads.push("Not zero");
  heads.push("Share", "Preallocation");
  const rows = result.images.map((image) => {
    const { virtualSize, written, nonZero } = image;
    const cells = [
      paint("name", safe(image.filename)),
      image.format,
      formatSize(virtualSize),
      formatSize(image.fileLength),
      image.allocated === undefined ? "unknown" : formatSize(image.allocated),
      formatSize(written),
    ];
    if (isScanned) cells.push(formatSize(nonZero?.bytes ?? 0));
    cells.push(percent(nonZero?.bytes ?? written, virtualSize), modes[image.preallocation]);
    return cells;
  });
  const numbers = heads.map((_, column) => column >= 2 && column < heads.length - 1);
  const table = alignColumns([heads.map((head) => paint("heading", head)), ...rows], {
    right: numbers,
  });
  const volumes = explainVolumes(result).map((line) => wrap(line, width));
  const notes = explainUsage(result).map(
    ({ filenames, text: words }) =>
      `${paint("name", listNames(filenames.map(safe)))}\n${wrap(safe(words), width, 2)}`,
  );
  return `${table}\n${volumes.join("")}\n${notes.join("")}`;
}

/** "a, b, c and 4 more". */
function listNames(names: readonly string[]): string {
  if (names.length <= 4) return names.join(", ");
  return `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`;
}
