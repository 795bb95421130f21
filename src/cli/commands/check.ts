import { PlatterError } from "../../errors.ts";
import { type CheckOptions, type CheckResult, formatSize } from "../contract.ts";
import { type JsonValue, plainJson, qemuJson } from "../json.ts";
import { alignColumns } from "../layout.ts";
import {
  checkImageOpts,
  imageOptsOption,
  jsonOption,
  longFormatOption,
  objectOption,
  outputOption,
  progressModeOption,
  quietOption,
  shareOption,
  wantsJson,
} from "../options.ts";
import { readCacheMode, sourceCacheOption } from "../cache-mode.ts";
import { twoDecimals } from "../numbers.ts";
import { problemLines } from "../check-words.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError, usageError } from "../usage.ts";
import { formatArgument, singleOperand } from "./operands.ts";

const EXIT_CORRUPT = 2;
const EXIT_LEAKS = 3;
/** Exit code for formats that have nothing to check. */
const EXIT_NOT_SUPPORTED = 63;

/** qemu-img's words for that, by which it is told from other things that are not supported. */
const NOTHING_TO_CHECK = "This image format does not support checks";

/** Writes of a repair that --dry-run lists. */
const maxWrites = 50;

/** The table entry of `check`. */
export const checkCommand: CommandSpec = {
  name: "check",
  summary: "look for damage in an image",
  description:
    "Follows every table of the image and compares the reference counts with what is in use. Nothing is written unless --repair asks for it; --dry-run shows what that would write.",
  operands: "filename",
  options: [
    objectOption,
    imageOptsOption,
    quietOption,
    longFormatOption,
    outputOption,
    jsonOption,
    ...progressModeOption(),
    {
      id: "repair",
      short: "r",
      long: "repair",
      argument: "leaks | all",
      summary: "repair what is found",
      group: "Behaviour",
      completes: ["leaks", "all"],
      check: (value) => {
        if (value === "leaks" || value === "all") return;
        throw usageError(
          `-r takes leaks or all, not "${value}".`,
          `Unknown option value for -r (expecting 'leaks' or 'all'): ${value}`,
        );
      },
      better: "A repair that is killed on the way leaves the image no worse than it was.",
    },
    {
      id: "dryRun",
      friendly: "dry-run",
      face: "platter",
      summary: "with --repair: show what would be written, and write nothing",
      group: "Behaviour",
    },
    sourceCacheOption,
    shareOption,
  ],
  examples: [{ line: "check disk.qcow2", explanation: "Is this image sound?" }],
  exitCodes: [
    [EXIT_CORRUPT, "the image is damaged"],
    [EXIT_LEAKS, "clusters are lost, but no data is harmed"],
    [EXIT_NOT_SUPPORTED, "the format has nothing to check"],
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const name = singleOperand(parsed);
  const json = wantsJson(parsed);
  const cache = readCacheMode(parsed.value("sourceCache") ?? "writeback", "source cache option");
  checkImageOpts(parsed);
  const options: CheckOptions = {
    name,
    ...formatArgument(parsed),
    imageOpts: parsed.has("imageOpts"),
    direct: cache.direct,
    shared: parsed.has("shared"),
    repair: repairOf(parsed),
    dryRun: parsed.has("dryRun"),
  };
  const report = await examine(options, parsed, session);
  if (session.face === "qemu") return showQemu(report, json, parsed, session);
  if (!parsed.has("quiet")) {
    session.print(json ? `${plainJson(friendlyJson(report))}\n` : friendlyText(report, session));
  }
  return exitCode(report, session);
}

/** @throws `E_INVALID_ARGUMENT` for --dry-run without anything to try */
function repairOf(parsed: Parsed): "leaks" | "all" | undefined {
  const value = parsed.value("repair");
  const repair = value === "leaks" || value === "all" ? value : undefined;
  if (!parsed.has("dryRun")) return repair;
  if (repair !== undefined && !parsed.has("imageOpts")) return repair;
  const message =
    "--dry-run shows what a repair would write: use it with --repair, and with a plain name.";
  throw argumentError("--dry-run", undefined, message, message);
}

function showQemu(report: CheckResult, json: boolean, parsed: Parsed, session: Session): number {
  const quiet = parsed.has("quiet");
  const { repair } = report;
  const list = (found: Pick<CheckResult, "problems" | "problemsOmitted">): void => {
    for (const { message } of found.problems) session.note(session.safe(message));
    if (found.problemsOmitted > 0) session.note(omitted(found));
  };
  const fixed = repair !== undefined && repair.leaksFixed + repair.corruptionsFixed > 0;
  if (repair !== undefined) list(repair);
  if (repair?.needsMore === true) {
    session.note("qemu-img: Check failed: Input/output error");
    return 1;
  }
  if (fixed && !json && !quiet) {
    session.print(
      "The following inconsistencies were found and repaired:\n\n" +
        `    ${repair.leaksFixed} leaked clusters\n` +
        `    ${repair.corruptionsFixed} corruptions\n\n` +
        "Double checking the fixed image now...\n",
    );
  }
  if (repair === undefined || fixed) list(report);
  if (!quiet) session.print(json ? `${qemuJson(toJson(report))}\n` : qemuText(report));
  return exitCode(report, session);
}

/** Runs the check; a format that has none makes the program end with a code of its own. */
async function examine(
  options: CheckOptions,
  parsed: Parsed,
  session: Session,
): Promise<CheckResult> {
  const check = await session.services.command("check");
  try {
    if (session.face === "qemu") return await check(options, await session.context());
    return await session.withProgress(parsed, { step: 1, eager: false }, async (display) => {
      const report = await check(options, await session.context(display.update));
      display.finish();
      return report;
    });
  } catch (error) {
    const isUnsupported = error instanceof PlatterError && error.details.qemu === NOTHING_TO_CHECK;
    if (isUnsupported) session.exitCodeOnError = EXIT_NOT_SUPPORTED;
    throw error;
  }
}

function exitCode(report: CheckResult, session: Session): number {
  if (report.checkErrors > 0) {
    if (session.face === "qemu") session.note("qemu-img: Check failed");
    return 1;
  }
  if (report.corruptions > 0) return EXIT_CORRUPT;
  return report.leaks > 0 ? EXIT_LEAKS : 0;
}

function omitted(report: Pick<CheckResult, "problemsOmitted">): string {
  return `... and ${report.problemsOmitted} more`;
}

/** qemu-img leaves out counts that are zero. */
function toJson(report: CheckResult): { [key: string]: JsonValue | undefined } {
  return {
    filename: report.filename,
    format: report.format,
    "image-end-offset": report.imageEndOffset || undefined,
    "total-clusters": report.totalClusters || undefined,
    "allocated-clusters": report.allocatedClusters || undefined,
    "fragmented-clusters": report.fragmentedClusters || undefined,
    "compressed-clusters": report.compressedClusters || undefined,
    corruptions: report.corruptions || undefined,
    leaks: report.leaks || undefined,
    "leaks-fixed": (report.repair?.leaksFixed ?? 0) || undefined,
    "corruptions-fixed": (report.repair?.corruptionsFixed ?? 0) || undefined,
    "check-errors": report.checkErrors,
  };
}

function friendlyJson(report: CheckResult): JsonValue {
  return {
    ...toJson(report),
    corruptions: report.corruptions,
    leaks: report.leaks,
    problems: report.problems.map(({ kind, message, hostOffset, guest }) => ({
      kind,
      message,
      "host-offset": hostOffset,
      guest: guest && { start: guest.start, end: guest.end },
    })),
    "problems-omitted": report.problemsOmitted,
    ...(report.repair !== undefined && {
      "leaks-fixed": report.repair.leaksFixed,
      "corruptions-fixed": report.repair.corruptionsFixed,
      "needs-rebuild": report.repair.needsMore,
    }),
    ...(report.writes !== undefined && {
      writes: report.writes.map(({ offset, length }) => ({ offset, length })),
    }),
  };
}

function qemuText(report: CheckResult): string {
  const { corruptions, leaks, checkErrors } = report;
  let text = "";
  if (corruptions === 0 && leaks === 0 && checkErrors === 0) {
    text += "No errors were found on the image.\n";
  }
  if (corruptions > 0) {
    text +=
      `\n${corruptions} errors were found on the image.\n` +
      "Data may be corrupted, or further writes to the image may corrupt it.\n";
  }
  if (leaks > 0) {
    text +=
      `\n${leaks} leaked clusters were found on the image.\n` +
      "This means waste of disk space, but no harm to data.\n";
  }
  if (checkErrors > 0) {
    text += `\n${checkErrors} internal errors have occurred during the check.\n`;
  }
  const { allocatedClusters: allocated, totalClusters: total } = report;
  if (total > 0 && allocated > 0) {
    text +=
      `${allocated}/${total} = ${percent(allocated, total)} allocated, ` +
      `${percent(report.fragmentedClusters, allocated)} fragmented, ` +
      `${percent(report.compressedClusters, allocated)} compressed clusters\n`;
  }
  if (report.imageEndOffset > 0) text += `Image end offset: ${BigInt(report.imageEndOffset)}\n`;
  return text;
}

function percent(part: number, whole: number): string {
  return `${twoDecimals((part * 100) / whole)}%`;
}

/** What was, or would be, repaired. */
function repairText({ repair, writes }: CheckResult, { paint }: Session): string {
  if (repair === undefined) return "";
  const { leaksFixed, corruptionsFixed, needsMore } = repair;
  if (needsMore) {
    return `${paint("bad", "The counts of used space have to be made anew: use --repair all.")}\n`;
  }
  const done = writes === undefined ? "Repaired" : "Would repair";
  const what = `${done}: ${corruptionsFixed} errors, ${leaksFixed} lost clusters.`;
  if (writes === undefined) return `${paint("good", what)}\n`;
  const rows = writes.map(({ offset, length }) => [`at ${offset}`, `${length} bytes`]);
  const shown = rows.slice(0, maxWrites);
  const more = rows.length > maxWrites ? `  ... and ${rows.length - maxWrites} more\n` : "";
  const heading = writes.length === 0 ? "" : `It would write to the file:\n`;
  return `${what}\n${heading}${alignColumns(shown, { indent: 2 })}${more}`;
}

function friendlyText(report: CheckResult, session: Session): string {
  const { paint, safe } = session;
  const { corruptions, leaks, checkErrors } = report;
  let text = "";
  for (const [{ kind }, words] of problemLines(report.problems)) {
    text += `${paint(kind === "leak" ? "warning" : "bad", safe(words))}\n`;
  }
  if (report.problemsOmitted > 0) text += `${omitted(report)}\n`;
  text += repairText(report, session);
  const verdicts: string[] = [];
  if (corruptions > 0) {
    verdicts.push(
      paint("bad", `${corruptions} errors: data may be lost; do not write to the image.`),
    );
  }
  if (leaks > 0) {
    verdicts.push(
      paint("warning", `${leaks} clusters are lost; that wastes space and harms no data.`),
    );
  }
  if (checkErrors > 0) verdicts.push(paint("bad", `${checkErrors} parts could not be checked.`));
  if (verdicts.length === 0) verdicts.push(paint("good", "No errors."));
  text += `${verdicts.join("\n")}\n`;
  const { allocatedClusters: allocated, totalClusters: total } = report;
  const rows: [string, string][] = [];
  if (total > 0)
    rows.push(["Allocated", `${allocated} of ${total} clusters (${percent(allocated, total)})`]);
  if (allocated > 0) {
    rows.push(["Fragmented", percent(report.fragmentedClusters, allocated)]);
    rows.push(["Compressed", percent(report.compressedClusters, allocated)]);
  }
  if (report.imageEndOffset > 0) rows.push(["Image ends at", formatSize(report.imageEndOffset)]);
  return (
    text +
    alignColumns(
      rows.map(([label, value]) => [paint("faint", label), value]),
      { indent: 2 },
    )
  );
}
