import { type BitmapAction, type BitmapListing, formatSize, parseSize } from "../contract.ts";
import { plainJson } from "../json.ts";
import { alignColumns } from "../layout.ts";
import {
  checkImageOpts,
  formatOption,
  imageOptsOption,
  jsonOption,
  objectOption,
  quietOption,
  sizeCheck,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec, OptionSpec } from "../spec.ts";
import { argumentError } from "../usage.ts";
import { formatArgument } from "./operands.ts";

const action = (id: string, summary: string): OptionSpec => ({
  id,
  long: id,
  summary,
  group: "Behaviour",
});

/** The table entry of `bitmap`. */
export const bitmapCommand: CommandSpec = {
  name: "bitmap",
  summary: "list, add, remove and change persistent dirty bitmaps",
  description:
    "A bitmap in a qcow2 image notes which parts of the disk are written, for incremental backups. " +
    "Without a bitmap's name, all bitmaps are listed. Several actions are done in the order given; " +
    "--add --disable adds a bitmap that does not note anything yet.",
  operands: "filename bitmap",
  options: [
    {
      id: "merge",
      long: "merge",
      argument: "SOURCE",
      summary: "add to the bitmap what the bitmap SOURCE says has changed",
      group: "Behaviour",
      repeatable: true,
    },
    action("add", "add a bitmap"),
    action("remove", "remove the bitmap"),
    action("clear", "forget what has changed"),
    action("enable", "note writes from now on"),
    action("disable", "do not note writes any more"),
    {
      id: "sourceFile",
      short: "b",
      long: "source-file",
      argument: "source_file",
      summary: "the image that has the bitmaps to merge",
      group: "Images",
    },
    {
      id: "sourceFormat",
      short: "F",
      long: "source-format",
      argument: "source_fmt",
      summary: "format of that image",
      group: "Images",
    },
    {
      id: "granularity",
      short: "g",
      long: "granularity",
      argument: "granularity",
      summary:
        "bytes that one bit of an added bitmap stands for: a power of two of at least 512; 64k if not given, less with small clusters",
      group: "Result",
      check: (value, session) => {
        sizeCheck("granularity")(value, session);
      },
    },
    objectOption,
    imageOptsOption,
    formatOption,
    quietFriendly(),
    jsonOption,
  ],
  examples: [
    { line: "bitmap disk.qcow2", explanation: "Which bitmaps are there?" },
    { line: "bitmap --add disk.qcow2 monday", explanation: "Note from now on what is written" },
    {
      line: "bitmap --merge monday --remove disk.qcow2 week",
      explanation: "Actions are done in the order given",
    },
  ],
  run,
};

/** qemu-img has no `-q` here. */
function quietFriendly(): OptionSpec {
  return { ...quietOption, face: "platter" };
}

const kinds = ["add", "remove", "clear", "enable", "disable", "merge"] as const;

async function run(parsed: Parsed, session: Session): Promise<number> {
  const actions = actionsOf(parsed);
  const [name, bitmapName, ...others] = parsed.operands;
  const isListing = actions.length === 0 && session.face === "platter";
  if (isListing && name !== undefined && bitmapName === undefined)
    return list(name, parsed, session);
  checkCombinations(parsed, actions);
  if (name === undefined || bitmapName === undefined || others.length > 0) {
    throw argumentError(
      "operands",
      undefined,
      "Name the image and the bitmap.",
      "Expecting filename and bitmap name",
    );
  }
  const source = parsed.value("sourceFile");
  const granularity = parsed.value("granularity");
  const change = await session.services.command("bitmap");
  checkImageOpts(parsed);
  await change(
    {
      name,
      ...formatArgument(parsed),
      imageOpts: parsed.has("imageOpts"),
      bitmap: bitmapName,
      actions,
      ...(granularity !== undefined && { granularity: narrow(parseSize(granularity), session) }),
      ...(source !== undefined && {
        source: { name: source, format: parsed.value("sourceFormat") },
      }),
    },
    await session.context(),
  );
  if (session.face === "platter" && !parsed.has("quiet")) {
    if (parsed.has("json")) {
      const done = actions.map(({ kind }) => kind);
      session.print(`${plainJson({ filename: name, bitmap: bitmapName, done })}\n`);
    } else session.print(`Done: ${sentence(actions)} ${session.safe(bitmapName)}\n`);
  }
  return 0;
}

/** The actions in the order of the command line. */
function actionsOf(parsed: Parsed): BitmapAction[] {
  const actions: BitmapAction[] = [];
  for (const { id, value } of parsed.given) {
    const kind = kinds.find((candidate) => candidate === id);
    if (kind === undefined) continue;
    actions.push(kind === "merge" ? { kind, source: value } : { kind });
  }
  return actions;
}

function checkCombinations(parsed: Parsed, actions: readonly BitmapAction[]): void {
  const has = (kind: BitmapAction["kind"]): boolean => actions.some((one) => one.kind === kind);
  if (actions.length === 0) {
    const options = "--add, --remove, --clear, --enable, --disable, or --merge";
    throw argumentError(
      "actions",
      undefined,
      `Say what to do with the bitmap: ${options}.`,
      `Need at least one of ${options}`,
    );
  }
  const granularity = parsed.value("granularity");
  if (granularity !== undefined && parseSize(granularity) !== 0 && !has("add")) {
    throw argumentError(
      "-g",
      granularity,
      "-g is about bitmaps that are made with --add.",
      "granularity only supported with --add",
    );
  }
  if (parsed.has("sourceFormat") && !parsed.has("sourceFile")) {
    throw argumentError(
      "-F",
      parsed.value("sourceFormat"),
      "-F is about the image that -b names.",
      "-F only supported with -b",
    );
  }
  if (parsed.has("sourceFile") && !has("merge")) {
    throw argumentError(
      "-b",
      parsed.value("sourceFile"),
      "-b is about bitmaps that are merged with --merge.",
      "Merge bitmap source file only supported with --merge",
    );
  }
}

/** 0 is the default; qemu-img looks at the lower 32 bits of the others only. */
function narrow(granularity: number, session: Session): number | undefined {
  if (granularity === 0) return undefined;
  return session.face === "qemu" ? granularity % 2 ** 32 : granularity;
}

const words = {
  add: "added",
  remove: "removed",
  clear: "cleared",
  enable: "enabled",
  disable: "disabled",
  merge: "merged into",
} as const;

const sentence = (actions: readonly BitmapAction[]): string =>
  actions.map(({ kind }) => words[kind]).join(", ");

async function list(name: string, parsed: Parsed, session: Session): Promise<number> {
  const listBitmaps = await session.services.command("listBitmaps");
  const bitmaps = await listBitmaps(
    { name, ...formatArgument(parsed), imageOpts: parsed.has("imageOpts") },
    await session.context(),
  );
  if (parsed.has("json")) session.print(`${plainJson(bitmaps.map(toJson))}\n`);
  else session.print(table(bitmaps, session));
  return 0;
}

function toJson(bitmap: BitmapListing): { [key: string]: string | number | boolean | undefined } {
  return {
    name: bitmap.name,
    granularity: bitmap.granularity,
    enabled: bitmap.enabled,
    inconsistent: bitmap.inconsistent,
    "dirty-bytes": bitmap.dirtyBytes,
  };
}

function table(bitmaps: readonly BitmapListing[], { paint, safe }: Session): string {
  if (bitmaps.length === 0) return "No bitmaps.\n";
  const heads = ["Bitmap", "Granularity", "Changed", "State"];
  const rows = bitmaps.map((bitmap) => [
    safe(bitmap.name),
    formatSize(bitmap.granularity),
    bitmap.dirtyBytes === undefined ? "unknown" : formatSize(bitmap.dirtyBytes),
    bitmap.inconsistent
      ? paint("bad", "inconsistent: remove it")
      : bitmap.enabled
        ? "enabled"
        : "disabled",
  ]);
  return alignColumns([heads.map((head) => paint("faint", head)), ...rows]);
}
