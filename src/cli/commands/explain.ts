import { formatExactSize, formatSize, type ExplainResult, type FilePart } from "../contract.ts";
import { plainJson, type JsonValue } from "../json.ts";
import { alignColumns } from "../layout.ts";
import { jsonOption, longFormatOption } from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { type Mark, drawStrip, legend } from "../strip.ts";
import { formatArgument, singleOperand } from "./operands.ts";

/** The table entry of `explain`. */
export const explainCommand: CommandSpec = {
  name: "explain",
  face: "platter",
  summary: "show where every byte of an image file goes",
  description:
    "A table of what the bytes of the file are for, which adds up to its length, with what the host has allocated for them, which adds up to what du shows. On a terminal also a picture of the file and of the guest's disk. With --field the decoded fields of the header, each with its place in the specification.",
  operands: "filename",
  options: [
    longFormatOption,
    {
      id: "field",
      friendly: "field",
      summary: "show the decoded header fields, too",
      group: "Output",
    },
    {
      id: "strip",
      friendly: "strip",
      summary: "draw the pictures also where the output is no terminal",
      group: "Output",
    },
    jsonOption,
  ],
  examples: [
    { line: "explain disk.qcow2", explanation: "What is in this file?" },
    { line: "explain --field disk.qcow2", explanation: "What does its header say?" },
  ],
  run,
};

/** Cells of a picture in JSON output. */
const jsonCells = 64;

async function run(parsed: Parsed, session: Session): Promise<number> {
  const { stdout } = session.environment;
  const json = parsed.has("json");
  const draws = stdout.isTerminal || parsed.has("strip");
  const width = json ? jsonCells : draws ? Math.min(stdout.columns, 100) - 2 : 0;
  const options = { name: singleOperand(parsed), ...formatArgument(parsed), width };
  const explain = await session.services.command("explain");
  const result = await explain(options, await session.context());
  session.print(
    json
      ? `${plainJson(toJson(result, parsed.has("field")))}\n`
      : text(result, parsed.has("field"), session),
  );
  return 0;
}

function toJson(result: ExplainResult, withFields: boolean): JsonValue {
  return {
    filename: result.filename,
    format: result.format,
    "virtual-size": result.virtualSize,
    "cluster-size": result.clusterSize,
    "file-length": result.fileLength,
    allocated: result.allocated,
    parts: result.parts.map(({ part, bytes, allocated }) => ({ part, bytes, allocated })),
    overhead: result.overhead,
    "file-strip": result.fileStrip,
    "disk-strip": result.diskStrip.map((place) => placeMarks[place]?.label ?? ""),
    fields: withFields
      ? result.fields.map((field) => ({
          structure: field.structure,
          name: field.name,
          offset: field.offset,
          width: field.width,
          value: field.value,
          meaning: field.meaning,
          specification: field.specification,
        }))
      : undefined,
  };
}

const metadata = { sign: "M", colour: "blue", label: "metadata" } as const;
const data = { sign: "█", colour: "green", label: "data" } as const;
const compressed = { sign: "▓", colour: "cyan", label: "compressed" } as const;
const reserved = { sign: "▒", colour: "yellow", label: "preallocated, unwritten" } as const;
const onHole = { sign: "░", colour: "yellow", label: "preallocated on a hole" } as const;
const kept = { sign: "S", colour: "cyan", label: "data of snapshots" } as const;
const zeroed = { sign: "0", colour: "gray", label: "zeros" } as const;
const unknown = { sign: "?", colour: "magenta", label: "unknown" } as const;

/** How each part of a file is drawn. */
const partMarks: Readonly<Record<FilePart, Mark>> = {
  header: metadata,
  "refcount table": metadata,
  "refcount blocks": metadata,
  "L1 table": metadata,
  "L2 tables": metadata,
  bitmaps: metadata,
  "snapshot tables": metadata,
  "snapshot data": kept,
  data,
  compressed,
  "preallocated and unwritten": reserved,
  "preallocated on a hole": onHole,
  zeroed,
  leaked: { sign: "!", colour: "red", label: "leaked" },
  unknown,
  free: { sign: "-", colour: "gray", label: "free" },
  holes: { sign: "·", colour: "gray", label: "nothing" },
};

/** How each place of the guest's disk is drawn, in the order of their numbers. */
const placeMarks: readonly Mark[] = [
  { sign: "·", colour: "gray", label: "nothing" },
  zeroed,
  onHole,
  reserved,
  data,
  compressed,
  unknown,
];

function text(result: ExplainResult, withFields: boolean, session: Session): string {
  const { paint, safe } = session;
  const cluster =
    result.clusterSize === undefined ? "" : `, clusters of ${formatSize(result.clusterSize)}`;
  const host =
    result.allocated === undefined ? "" : `, ${formatSize(result.allocated)} of it on the host`;
  let page =
    `${paint("heading", safe(result.filename))}: a ${result.format} image${cluster}\n` +
    `The guest sees a disk of ${formatExactSize(result.virtualSize)}. ` +
    `The file is ${formatSize(result.fileLength)} long${host}.\n\n`;
  page += table(result, session);
  if (result.fileStrip.length > 0) {
    const file = result.fileStrip.map((part) => partMarks[part]);
    const disk = result.diskStrip.map((place) => placeMarks[place] ?? unknown);
    page += `\nThe file, from its start to its end\n  ${drawStrip(file, paint)}\n`;
    page += `The guest's disk\n  ${drawStrip(disk, paint)}\n`;
    page += `  ${legend([...file, ...disk], paint)}\n`;
  }
  if (withFields) page += `\n${fields(result, session)}`;
  return page;
}

function table({ parts, fileLength, allocated, overhead }: ExplainResult, session: Session) {
  const { paint } = session;
  const bytes = (count: number | undefined): string =>
    count === undefined ? "unknown" : BigInt(count).toLocaleString("en");
  const share = (count: number): string =>
    fileLength === 0 ? "" : `${((count / fileLength) * 100).toFixed(1)}%`;
  const rows = parts.map(({ part, ...sizes }) => [
    part,
    bytes(sizes.bytes),
    share(sizes.bytes),
    bytes(sizes.allocated),
  ]);
  if (overhead !== undefined && overhead !== 0) {
    rows.push([paint("faint", "host's rounding and lists"), "", "", bytes(overhead)]);
  }
  rows.push(["total", bytes(fileLength), share(fileLength), bytes(allocated)]);
  const heads = ["Part", "Bytes", "Share", "On the host"].map((head) => paint("heading", head));
  // The last column is a number, too: an empty one behind it has it aligned.
  return alignColumns(
    [heads, ...rows].map((row) => row.concat("")),
    { right: [false, true, true, true] },
  );
}

function fields(result: ExplainResult, session: Session): string {
  const { paint, safe } = session;
  if (result.fields.length === 0) return `The format ${result.format} has no header.\n`;
  const rows = result.fields.map((field) => [
    paint("faint", String(field.offset)),
    field.name,
    field.meaning,
    paint("faint", field.specification),
    safe(field.value),
  ]);
  const heads = ["Offset", "Field", "Meaning", "Specification", "Value"];
  return alignColumns([heads.map((head) => paint("heading", head)), ...rows], { right: [true] });
}
