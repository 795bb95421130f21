import { readCacheMode, sourceCacheOption } from "../cache-mode.ts";
import { formatSize } from "../contract.ts";
import { plainJson } from "../json.ts";
import {
  checkImageOpts,
  formatOption,
  imageOptsOption,
  jsonOption,
  objectOption,
  progressOptions,
  quietOption,
  shareOption,
  targetCacheOption,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { usageError } from "../usage.ts";
import { formatArgument, singleOperand } from "./operands.ts";

/** The table entry of `rebase`. */
export const rebaseCommand: CommandSpec = {
  name: "rebase",
  summary: "give an overlay another image to be based on",
  description:
    "What the guest sees stays the same: where the new backing file differs from the old one, the data is copied into the image first. With an empty name (-b '') the image stands alone afterwards. With -u only the name is changed, for a backing file that has been moved; whoever names a different one changes what the guest sees.",
  operands: "filename",
  options: [
    objectOption,
    imageOptsOption,
    {
      ...shareOption,
      summary: "open backing files even if another program is writing to them",
      different: "Backing files are opened without locks in any case.",
    },
    formatOption,
    targetCacheOption,
    sourceCacheOption,
    ...progressOptions,
    {
      id: "unsafe",
      short: "u",
      friendly: "unsafe",
      summary: "change the name and nothing else; no backing file is opened",
      group: "Behaviour",
    },
    {
      id: "compress",
      short: "c",
      friendly: "compress",
      summary: "compress what has to be copied into the image",
      group: "Result",
      better: "As newer versions of qemu-img have it.",
    },
    {
      id: "backing",
      short: "b",
      friendly: "backing",
      argument: "backing_file",
      completes: "file",
      summary: "the new backing file, as it shall stand in the image; '' for none",
      group: "Images",
    },
    {
      id: "backingFormat",
      short: "F",
      friendly: "backing-format",
      argument: "backing_fmt",
      completes: "format",
      summary: "its format",
      group: "Images",
    },
    quietOption,
    jsonOption,
  ],
  examples: [
    {
      line: "rebase -b new-base.qcow2 -F qcow2 overlay.qcow2",
      explanation: "On another base, with the same contents",
    },
    {
      line: "rebase -u -b ../bases/debian.qcow2 -F qcow2 overlay.qcow2",
      explanation: "The base has been moved",
    },
    {
      line: "rebase -c -b '' overlay.qcow2",
      explanation: "Stand alone, and small",
    },
    { line: "rebase -b '' overlay.qcow2", explanation: "Stand alone, with everything in it" },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const name = singleOperand(parsed);
  const backing = parsed.value("backing");
  const format = parsed.value("backingFormat");
  const unsafe = parsed.has("unsafe");
  if (!unsafe && backing === undefined) {
    throw usageError(
      "Name the new backing file with -b; with -u and without -b the image gets none.",
      "Must specify backing file (-b) or use unsafe mode (-u)",
    );
  }
  const rebase = await session.services.command("rebase");
  const look = { step: 1, eager: true };
  const result = await session.withProgress(parsed, look, async (display) => {
    const cache = readCacheMode(parsed.value("cache") ?? "writeback");
    readCacheMode(parsed.value("sourceCache") ?? "writeback", "source cache option");
    checkImageOpts(parsed);
    const done = await rebase(
      {
        name,
        ...formatArgument(parsed),
        imageOpts: parsed.has("imageOpts"),
        ...(backing !== undefined &&
          backing !== "" && {
            backing: { name: backing, ...(format !== undefined && { format }) },
          }),
        unsafe,
        compress: parsed.has("compress"),
        sync: !cache.unsafe,
        direct: cache.direct,
      },
      await session.context((progress) => display.update(progress)),
    );
    display.finish();
    return done;
  });
  if (parsed.has("quiet") || session.face === "qemu") return 0;
  if (parsed.has("json")) {
    session.print(
      `${plainJson({
        filename: result.filename,
        "backing-filename": result.backing?.name,
        "backing-filename-format": result.backing?.format,
        copied: result.copied,
      })}\n`,
    );
    return 0;
  }
  const where = result.backing === undefined ? "nothing" : session.safe(result.backing.name);
  const copied = unsafe ? "" : `; ${formatSize(result.copied)} copied into it`;
  session.print(`${session.safe(result.filename)} is based on ${where} now${copied}\n`);
  return 0;
}
