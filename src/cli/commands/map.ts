import { PlatterError } from "../../errors.ts";
import { formatSize, type MapEntry, type MapOptions, parseSize } from "../contract.ts";
import { jsonLine } from "../json.ts";
import {
  checkImageOpts,
  imageOptsOption,
  jsonOption,
  longFormatOption,
  objectOption,
  outputOption,
  shareOption,
  sizeCheck,
  wantsJson,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { formatArgument, singleOperand } from "./operands.ts";

/** The table entry of `map`. */
export const mapCommand: CommandSpec = {
  name: "map",
  summary: "show where the data of a disk is stored",
  description:
    "Lists the ranges of the disk: which hold data, at which offset of which file of the backing chain, and which read as zeros.",
  operands: "filename",
  options: [
    objectOption,
    imageOptsOption,
    longFormatOption,
    {
      id: "start",
      short: "s",
      long: "start-offset",
      argument: "offset",
      summary: "begin at this offset of the disk",
      group: "Images",
      check: sizeCheck("start offset"),
    },
    {
      id: "maxLength",
      short: "l",
      long: "max-length",
      argument: "len",
      summary: "look at no more than this many bytes",
      group: "Images",
      check: sizeCheck("max length"),
    },
    outputOption,
    jsonOption,
    shareOption,
  ],
  examples: [
    { line: "map disk.qcow2", explanation: "Which parts hold data?" },
    { line: "map --output=json disk.qcow2", explanation: "Every range, for a program" },
  ],
  run,
};

/** How a listing is written: what stands before, between and after the entries. */
interface Listing {
  readonly head: string;
  readonly entry: (entry: MapEntry) => string;
  readonly between: string;
  readonly tail: string;
}

async function run(parsed: Parsed, session: Session): Promise<number> {
  const name = singleOperand(parsed);
  const json = wantsJson(parsed);
  checkImageOpts(parsed);
  const start = parsed.value("start");
  const maxLength = parsed.value("maxLength");
  const options: MapOptions = {
    name,
    ...formatArgument(parsed),
    imageOpts: parsed.has("imageOpts"),
    ...(start === undefined ? {} : { start: parseSize(start, { what: "start offset" }) }),
    ...(maxLength === undefined ? {} : { maxLength: parseSize(maxLength, { what: "max length" }) }),
    shared: parsed.has("shared"),
  };
  const map = await session.services.command("map");
  await print(map(options, await session.context()), options, listing(json, session), session);
  return 0;
}

const NOTHING: MapEntry = {
  start: 0,
  length: 0,
  depth: 0,
  present: false,
  zero: false,
  data: false,
  compressed: false,
  filename: "",
};

async function print(
  entries: AsyncIterable<MapEntry>,
  { start = 0 }: MapOptions,
  { head, entry, between, tail }: Listing,
  { print: write, environment }: Session,
): Promise<void> {
  const { stdout } = environment;
  let count = 0;
  for await (const item of entries) {
    // What is listed before an entry that cannot be stays.
    write(count === 0 ? head : between);
    write(entry(item));
    count++;
    if (stdout.closed) return;
    await stdout.drained();
  }
  // qemu-img shows an empty range of the disk as one entry.
  if (count === 0) write(head + entry({ ...NOTHING, start }));
  write(tail);
}

function listing(json: boolean, session: Session): Listing {
  if (json) {
    const entry = session.face === "qemu" ? qemuJsonEntry : friendlyJsonEntry;
    return { head: "[", entry, between: session.face === "qemu" ? ",\n" : ",\n ", tail: "]\n" };
  }
  if (session.face === "qemu") {
    const head = qemuRow("Offset", "Length", "Mapped to", "File");
    return { head, entry: (item) => qemuEntry(item, session), between: "", tail: "" };
  }
  const columns = friendlyRow("Offset", "Length", "Contents", "Stored at", "File");
  const head = `${session.paint("heading", columns)}\n`;
  return { head, entry: (item) => friendlyEntry(item, session), between: "", tail: "" };
}

function qemuJsonEntry(entry: MapEntry): string {
  const { start, length, depth, present, zero, data, offset } = entry;
  const where = offset === undefined ? "" : `, "offset": ${BigInt(offset)}`;
  return (
    `{ "start": ${BigInt(start)}, "length": ${BigInt(length)}, "depth": ${depth}, ` +
    `"present": ${present}, "zero": ${zero}, "data": ${data}${where}}`
  );
}

function friendlyJsonEntry(entry: MapEntry): string {
  const { start, length, depth, present, zero, data, compressed, offset, filename } = entry;
  return jsonLine({ start, length, depth, present, zero, data, compressed, offset, filename });
}

/** Like C's `%#-16x`. */
function hex(value: number): string {
  return value === 0 ? "0" : `0x${BigInt(value).toString(16)}`;
}

function qemuRow(offset: string, length: string, mapped: string, file: string): string {
  return `${offset.padEnd(16)}${length.padEnd(16)}${mapped.padEnd(16)}${file}\n`;
}

function qemuEntry(entry: MapEntry, session: Session): string {
  if (!entry.data) return "";
  if (entry.offset === undefined) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      "The disk has compressed data, which has no place of its own in a file: use --output=json.",
      { qemu: "File contains external, encrypted or compressed clusters." },
    );
  }
  if (entry.zero) return "";
  const file = session.safe(entry.filename);
  return qemuRow(hex(entry.start), hex(entry.length), hex(entry.offset), file);
}

function friendlyRow(
  offset: string,
  length: string,
  contents: string,
  stored: string,
  file: string,
): string {
  const columns = [offset.padEnd(18), length.padStart(9), contents.padEnd(11), stored.padEnd(18)];
  return `${columns.join("  ")}  ${file}`.trimEnd();
}

function friendlyEntry(entry: MapEntry, session: Session): string {
  const { start, length, offset, filename } = entry;
  const stored = offset === undefined || entry.zero ? "" : hex(offset);
  const file = entry.present ? session.safe(filename) : "";
  const row = friendlyRow(hex(start), formatSize(length), describeContents(entry), stored, file);
  return `${entry.data ? row : session.paint("faint", row)}\n`;
}

function describeContents(entry: MapEntry): string {
  if (entry.data && entry.zero) return "zeros, kept";
  if (entry.data) return entry.compressed ? "compressed" : "data";
  return entry.present ? "zeros" : "nothing";
}
