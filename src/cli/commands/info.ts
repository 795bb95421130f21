import { formatExactSize, formatSize, type ImageInfo, type InfoOptions } from "../contract.ts";
import { type JsonValue, plainJson, qemuJson } from "../json.ts";
import { alignColumns } from "../layout.ts";
import {
  checkImageOpts,
  imageOptsOption,
  jsonOption,
  longFormatOption,
  objectOption,
  outputOption,
  shareOption,
  wantsJson,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import { localTime, qemuSnapshotList, snapshotJson } from "../snapshot-list.ts";
import type { CommandSpec } from "../spec.ts";
import { formatArgument, singleOperand } from "./operands.ts";

/** The table entry of `info`. */
export const infoCommand: CommandSpec = {
  name: "info",
  summary: "show what an image is: format, sizes, backing file, features",
  description:
    "Shows the format, the size that a guest sees, the space that the file takes, and what the format has to tell. With --backing-chain the same for every image behind it.",
  operands: "filename",
  options: [
    objectOption,
    imageOptsOption,
    longFormatOption,
    outputOption,
    jsonOption,
    {
      id: "backingChain",
      long: "backing-chain",
      summary: "also show the backing file, its backing file, and so on",
      group: "Images",
    },
    shareOption,
  ],
  examples: [
    { line: "info disk.qcow2", explanation: "What is this image?" },
    {
      line: "info --backing-chain overlay.qcow2",
      explanation: "The image and everything that it is based on",
    },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const name = singleOperand(parsed);
  const json = wantsJson(parsed);
  checkImageOpts(parsed);
  const chain = parsed.has("backingChain");
  const options: InfoOptions = {
    name,
    ...formatArgument(parsed),
    imageOpts: parsed.has("imageOpts"),
    backingChain: chain,
    shared: parsed.has("shared"),
  };
  const info = await session.services.command("info");
  const images = await info(options, await session.context());
  if (json) {
    const write = session.face === "qemu" ? qemuJson : plainJson;
    const values = images.map(toJson);
    session.print(`${write(chain ? values : (values[0] ?? null))}\n`);
  } else {
    const show = session.face === "qemu" ? qemuText : friendlyText;
    session.print(images.map((image) => show(image, session)).join("\n"));
  }
  return 0;
}

/** The members in the order in which people want them; qemu-img's face brings its own. */
function toJson(image: ImageInfo): JsonValue {
  return {
    filename: image.filename,
    format: image.format,
    "virtual-size": image.virtualSize,
    "actual-size": image.allocatedSize,
    "cluster-size": image.clusterSize,
    "backing-filename": image.backingFilename,
    "full-backing-filename": image.fullBackingFilename,
    "backing-filename-format": image.backingFormat,
    "dirty-flag": image.dirty,
    ...(image.encrypted && { encrypted: true }),
    ...(image.snapshots.length > 0 && { snapshots: image.snapshots.map(snapshotJson) }),
    "format-specific":
      image.formatSpecific === undefined
        ? undefined
        : { type: image.format, data: toJsonValue(image.formatSpecific) },
  };
}

/** What formats say about themselves, as JSON; what JSON does not have becomes null. */
function toJsonValue(value: unknown): JsonValue {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
    return value;
  }
  if (value === null || value === undefined) return null;
  if (Array.isArray(value)) return value.map(toJsonValue);
  if (typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, member]) => member !== undefined)
        .map(([key, member]) => [key, toJsonValue(member)]),
    );
  }
  return JSON.stringify(value) ?? null;
}

function qemuText(image: ImageInfo, session: Session): string {
  const { safe } = session;
  const lines = [
    `image: ${safe(image.filename)}`,
    `file format: ${image.format}`,
    `virtual size: ${formatExactSize(image.virtualSize)}`,
    `disk size: ${image.allocatedSize === undefined ? "unavailable" : formatSize(image.allocatedSize)}`,
  ];
  if (image.encrypted) lines.push("encrypted: yes");
  if (image.clusterSize !== undefined) lines.push(`cluster_size: ${image.clusterSize}`);
  if (image.dirty) lines.push("cleanly shut down: no");
  if (image.backingFilename !== undefined) {
    lines.push(`backing file: ${safe(image.backingFilename)}${actualPath(image, safe)}`);
    if (image.backingFormat !== undefined) {
      lines.push(`backing file format: ${safe(image.backingFormat)}`);
    }
  }
  if (image.snapshots.length > 0) {
    lines.push(qemuSnapshotList(image.snapshots, safe).trimEnd());
  }
  if (image.formatSpecific !== undefined) {
    lines.push("Format specific information:");
    lines.push(...specificLines(toJsonValue(image.formatSpecific), 1, safe));
  }
  return `${lines.join("\n")}\n`;
}

function actualPath(image: ImageInfo, safe: (text: string) => string): string {
  if (image.fullBackingFilename === undefined) return " (cannot determine actual path)";
  if (image.fullBackingFilename === image.backingFilename) return "";
  return ` (actual path: ${safe(image.fullBackingFilename)})`;
}

/** A tree of names and values, four spaces a level; names have blanks for dashes. */
function specificLines(value: JsonValue, level: number, safe: (text: string) => string): string[] {
  if (value === null || typeof value !== "object") return [];
  const lines: string[] = [];
  const members: [string, JsonValue | undefined][] = isArray(value)
    ? value.map((item, index) => [`[${index}]`, item])
    : Object.entries(value).map(([key, member]) => [key.replaceAll("-", " "), member]);
  for (const [name, member] of members) {
    const start = `${"    ".repeat(level)}${name}:`;
    if (member === undefined) continue;
    if (member !== null && typeof member === "object") {
      lines.push(start, ...specificLines(member, level + 1, safe));
    } else lines.push(`${start} ${safe(String(member))}`);
  }
  return lines;
}

function isArray(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function friendlyText(image: ImageInfo, session: Session): string {
  const { safe, paint } = session;
  const rows: [string, string][] = [
    ["Format", image.format],
    ["Size", formatExactSize(image.virtualSize)],
    ["On disk", image.allocatedSize === undefined ? "unknown" : formatSize(image.allocatedSize)],
  ];
  if (image.clusterSize !== undefined) rows.push(["Cluster", formatSize(image.clusterSize)]);
  if (image.backingFilename !== undefined) {
    const format = image.backingFormat === undefined ? "" : ` (${safe(image.backingFormat)})`;
    rows.push(["Based on", `${safe(image.backingFilename)}${format}`]);
    if (
      image.fullBackingFilename !== undefined &&
      image.fullBackingFilename !== image.backingFilename
    ) {
      rows.push(["", `at ${safe(image.fullBackingFilename)}`]);
    }
  }
  if (image.dirty) rows.push(["State", paint("warning", "not closed cleanly")]);
  image.snapshots.forEach(({ name, date }, i) => {
    rows.push([i === 0 ? "Snapshots" : "", `${safe(name)}, ${localTime(date.seconds)}`]);
  });
  for (const [key, value] of Object.entries(image.formatSpecific ?? {})) {
    const words = key.replaceAll("-", " ");
    rows.push([words.charAt(0).toUpperCase() + words.slice(1), friendlyValue(value, session)]);
  }
  return (
    `${paint("heading", safe(image.filename))}\n` +
    alignColumns(
      rows.map(([label, value]) => [paint("faint", label), value]),
      { indent: 2 },
    )
  );
}

function friendlyValue(value: unknown, session: Session): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return session.safe(value);
  return session.safe(JSON.stringify(value) ?? "");
}
