import type { DuResult } from "../contract.ts";
import { plainJson } from "../json.ts";
import { jsonOption, longFormatOption, progressModeOption } from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { usageError } from "../usage.ts";
import { usageText } from "../usage-text.ts";
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
    parsed.has("json") ? `${plainJson(toJson(result))}\n` : await usageText(result, session),
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
