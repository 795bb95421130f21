import { formatSize, type SnapshotAction, type SnapshotResult } from "../contract.ts";
import { plainJson } from "../json.ts";
import { alignColumns } from "../layout.ts";
import {
  checkImageOpts,
  formatOption,
  imageOptsOption,
  jsonOption,
  objectOption,
  quietOption,
  shareOption,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import { qemuError } from "../qemu-error.ts";
import type { Session } from "../session.ts";
import { clockTime, localTime, qemuSnapshotList, snapshotJson } from "../snapshot-list.ts";
import type { CommandSpec, OptionSpec } from "../spec.ts";
import { argumentError, usageError } from "../usage.ts";
import { formatArgument, singleOperand } from "./operands.ts";

/** Longest name that QEMU can deal with, in bytes. */
const maxName = 255;

const action = (short: string, id: string, argument: string, summary: string): OptionSpec => ({
  id,
  short,
  friendly: id,
  argument,
  summary,
  group: "Behaviour",
});

/** The table entry of `snapshot`. */
export const snapshotCommand: CommandSpec = {
  name: "snapshot",
  summary: "list, make, apply and delete the internal snapshots of an image",
  description:
    "An internal snapshot keeps the present state of the disk inside the image. Making and deleting " +
    "one takes effect as a whole: killed on the way, the image is with or without it. Without an " +
    "action, the snapshots are listed.",
  operands: "filename",
  options: [
    objectOption,
    imageOptsOption,
    {
      ...formatOption,
      better: "As newer versions of qemu-img have it: the format is not guessed.",
    },
    shareOption,
    quietOption,
    {
      id: "list",
      short: "l",
      friendly: "list",
      summary: "list the snapshots",
      group: "Behaviour",
    },
    action("a", "apply", "snapshot", "make the disk what it was; its present state is lost"),
    action("c", "create", "snapshot", "keep the present state under this name"),
    action("d", "delete", "snapshot", "delete the snapshot of this name"),
    jsonOption,
  ],
  examples: [
    { line: "snapshot -c before-update disk.qcow2", explanation: "Keep the present state" },
    { line: "snapshot disk.qcow2", explanation: "Which snapshots are there?" },
    { line: "snapshot -a before-update disk.qcow2", explanation: "Return to it" },
  ],
  run,
};

const kinds = ["list", "apply", "create", "delete"] as const;

async function run(parsed: Parsed, session: Session): Promise<number> {
  const given = parsed.given.filter(({ id }) => kinds.some((kind) => kind === id));
  if (given.length > 1) {
    throw usageError(
      "Ask for one thing at a time: -l, -a, -c or -d.",
      "Cannot mix '-l', '-a', '-c', '-d'",
    );
  }
  const name = singleOperand(parsed);
  checkImageOpts(parsed);
  const kind = kinds.find((known) => known === given[0]?.id);
  const snapshot = await session.services.command("snapshot");
  const wanted = kind === undefined ? "" : (parsed.value(kind) ?? "");
  try {
    const result = await snapshot(
      {
        name,
        ...formatArgument(parsed),
        imageOpts: parsed.has("imageOpts"),
        shared: parsed.has("shared"),
        action: actionOf(kind, wanted, session),
      },
      await session.context(),
    );
    show(result, kind, wanted, parsed, session);
  } catch (error) {
    throw inQemuWords(error, kind, wanted);
  }
  return 0;
}

function actionOf(
  kind: (typeof kinds)[number] | undefined,
  name: string,
  { face }: Session,
): SnapshotAction {
  switch (kind) {
    case "create":
      return { kind: "create", name: face === "qemu" ? cut(name) : checkName(name) };
    case "apply":
      return { kind: "apply", snapshot: name };
    case "delete":
      // qemu-img takes a name here, and nothing else.
      return { kind: "remove", snapshot: face === "qemu" ? { name } : name };
    default:
      return { kind: "list" };
  }
}

/** As much of a name as qemu-img keeps. */
function cut(name: string): string {
  const bytes = new TextEncoder().encode(name);
  return bytes.length <= maxName ? name : new TextDecoder().decode(bytes.subarray(0, maxName));
}

function checkName(name: string): string {
  if (name !== "" && cut(name) === name) return name;
  const message = `The name of a snapshot has 1 to ${maxName} bytes.`;
  throw argumentError("--create", name, message, message);
}

const unsupported = "Block driver does not support snapshots";

/** What went wrong, as qemu-img says it for each action. */
function inQemuWords(error: unknown, kind: (typeof kinds)[number] | undefined, name: string) {
  if (kind === "create") {
    return qemuError(error, (text, number) => {
      const why = text === unsupported ? "-95 (Operation not supported)" : `${number} (${text})`;
      return `Could not create snapshot '${name}': ${why}`;
    });
  }
  if (kind === "apply") {
    return qemuError(error, (text) =>
      text === "No such file or directory"
        ? `Could not apply snapshot '${name}': Failed to load snapshot: ${text}`
        : `Could not apply snapshot '${name}': ${text}`,
    );
  }
  if (kind === "delete") {
    return qemuError(error, (text, _number, code) =>
      code === "E_SNAPSHOT_NOT_FOUND" || text === unsupported
        ? `Could not delete snapshot '${name}': snapshot not found`
        : `Could not delete snapshot '${name}': ${text}`,
    );
  }
  return error;
}

function show(
  result: SnapshotResult,
  kind: (typeof kinds)[number] | undefined,
  name: string,
  parsed: Parsed,
  session: Session,
): void {
  const { snapshots } = result;
  const { safe } = session;
  if (session.face === "qemu") {
    if (kind === "list" && snapshots.length > 0) session.print(qemuSnapshotList(snapshots, safe));
    return;
  }
  if (parsed.has("quiet")) return;
  if (parsed.has("json")) {
    session.print(`${plainJson(snapshots.map(snapshotJson))}\n`);
    return;
  }
  if (kind === undefined || kind === "list") return session.print(table(result, session));
  const words = { create: "made", apply: "applied", delete: "deleted" } as const;
  session.print(`${safe(result.filename)}: snapshot "${safe(name)}" ${words[kind]}\n`);
}

function table({ filename, snapshots }: SnapshotResult, { paint, safe }: Session): string {
  if (snapshots.length === 0) return `${safe(filename)}: no snapshots\n`;
  const withState = snapshots.some(({ vmStateSize }) => vmStateSize > 0);
  const heads = ["ID", "Name", "Made", "Disk", ...(withState ? ["Machine", "Clock"] : [])];
  const rows = snapshots.map(({ id, name, date, diskSize, vmStateSize, vmClock }) => [
    safe(id),
    safe(name),
    localTime(date.seconds),
    formatSize(diskSize),
    ...(withState ? [formatSize(vmStateSize), clockTime(vmClock)] : []),
  ]);
  return alignColumns([heads.map((head) => paint("faint", head)), ...rows]);
}
