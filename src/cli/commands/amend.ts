import type { Progress } from "../contract.ts";
import { printAmendHelp, splitOptionList } from "../format-options.ts";
import { plainJson } from "../json.ts";
import {
  checkImageOpts,
  formatOption,
  formatOptionsOption,
  imageOptsOption,
  jsonOption,
  objectOption,
  progressOptions,
  quietOption,
  targetCacheOption,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import { readCacheMode } from "../cache-mode.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError, usageError } from "../usage.ts";
import { formatArgument } from "./operands.ts";

/** The table entry of `amend`. */
export const amendCommand: CommandSpec = {
  name: "amend",
  summary: "change properties of an existing image",
  description:
    "Changes what -o names, and nothing else: the version of the format, the width of refcounts, lazy refcounts, the name of the data file. Everything is checked before anything is changed.",
  operands: "filename",
  options: [
    objectOption,
    imageOptsOption,
    ...progressOptions,
    quietOption,
    formatOption,
    targetCacheOption,
    {
      id: "force",
      long: "force",
      summary: "allow what may make the image unusable, such as erasing its last key",
      group: "Behaviour",
    },
    {
      ...formatOptionsOption,
      summary:
        "what is to be different, as name=value separated by commas; 'help' lists what can be",
      better: "Options that do not go together are refused before the image is touched.",
    },
    jsonOption,
  ],
  examples: [
    { line: "amend -o compat=1.1 old.qcow2", explanation: "Up to version 3 of the format" },
    { line: "amend -o refcount_bits=64 disk.qcow2", explanation: "Room for more snapshots" },
    { line: "amend -f qcow2 -o help disk.qcow2", explanation: "What can be changed?" },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const lists = parsed.values("options");
  if (lists.length === 0)
    throw usageError("Say what to change, with -o.", "Must specify options (-o)");
  const { pairs, help } = splitOptionList(lists);
  const formats = await session.services.formats();
  const given = parsed.value("format");
  if (help && given !== undefined) {
    printAmendHelp(session, formats, given);
    return 0;
  }
  const [name, ...others] = parsed.operands;
  if (name === undefined || others.length > 0) {
    throw argumentError("operands", undefined, "Name one image.", "Expecting one image file name");
  }
  checkImageOpts(parsed);
  const cache = readCacheMode(parsed.value("cache") ?? "writeback");
  const amend = await session.services.command("amend");
  if (help) {
    const info = await session.services.command("info");
    const [image] = await info(
      { name, imageOpts: parsed.has("imageOpts") },
      await session.context(),
    );
    printAmendHelp(session, formats, image?.format ?? "raw");
    return 0;
  }
  const look = { step: 1, eager: false, again: true };
  const result = await session.withProgress(parsed, look, async (display) => {
    let began = false;
    const onProgress = (progress: Progress): void => {
      began = true;
      display.update(progress);
    };
    const changing = amend(
      {
        name,
        ...formatArgument(parsed),
        imageOpts: parsed.has("imageOpts"),
        values: (format) => formats.parseAmend(format, pairs),
        force: parsed.has("force"),
        shrink: session.face === "qemu",
        barriers: !cache.unsafe,
        direct: cache.direct,
      },
      await session.context(onProgress),
    );
    try {
      return await changing;
    } finally {
      if (began) display.finish();
    }
  });
  if (parsed.has("quiet") || session.face === "qemu") return 0;
  if (parsed.has("json")) session.print(`${plainJson({ ...result })}\n`);
  else {
    const changes = Object.entries(result.values).map(([key, value]) => `${key} is now ${value}`);
    session.print(`${session.safe(result.filename)}: ${changes.join(", ")}\n`);
  }
  return 0;
}
