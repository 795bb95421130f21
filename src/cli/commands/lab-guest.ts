import { relative } from "node:path";
import {
  formatSize,
  parseSize,
  type GuestLabOptions,
  type GuestLabResult,
  type GuestReport,
} from "../contract.ts";
import { alignColumns, wrap } from "../layout.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import { usageError } from "../usage.ts";

/** Runs `lab --guest`: measures, and prints a table and what the numbers say. */
export async function runGuestLab(
  parsed: Parsed,
  session: Session,
  directory: string,
  rounds: number | undefined,
): Promise<number> {
  const size = parsed.value("size");
  const { guestLab, cacheDirectory, milliseconds } = await session.services.laboratory();
  const options: GuestLabOptions = {
    directory,
    quick: parsed.has("quick"),
    size: size === undefined ? undefined : parseSize(size, { what: "disk size" }),
    rounds,
    cache: cacheDirectory(session.environment.variables),
    system: ownSystem(parsed),
  };
  const result = await session.withProgress(parsed, { step: 1, eager: false }, async (display) => {
    const context = await session.context((progress) => display.update(progress));
    const done = await guestLab(options, context);
    display.finish();
    return done;
  });
  if (parsed.has("json")) session.print(`${JSON.stringify(result.report, null, 2)}\n`);
  else session.print(story(result, session, milliseconds));
  return 0;
}

function ownSystem(parsed: Parsed): GuestLabOptions["system"] {
  const kernel = parsed.value("kernel");
  const initrd = parsed.value("initrd");
  if (kernel === undefined && initrd === undefined) return undefined;
  if (kernel === undefined || initrd === undefined) {
    const message = "--kernel and --initrd are given together, or neither.";
    throw usageError(message, message);
  }
  return { kernel, initrd };
}

function story(
  { report, html, json }: GuestLabResult,
  session: Session,
  time: (milliseconds: number) => string,
): string {
  const { paint, safe, environment } = session;
  const width = Math.min(environment.stdout.columns, 100);
  const heading = (text: string): string => `${paint("heading", text)}\n`;
  const reason = report.accelerationReason;
  const how = reason === undefined ? "under KVM" : `under TCG: ${reason}`;
  const caches = [...new Set(report.rounds.map(({ cache }) => cache))];
  const tables = caches.map((cache) => {
    const count = report.rounds.filter((round) => round.cache === cache).length;
    const title = `Time in the guest, cache=${cache}: median of ${count} rounds`;
    return `${heading(title)}${timesTable(report, cache, time)}\n`;
  });
  const costs = report.costs.map(({ label, creation, empty, written }) => [
    label,
    time(creation.median),
    formatSize(empty),
    formatSize(written),
  ]);
  const conclusions = report.conclusions.map((line) => `- ${wrap(line, width, 2).trim()}\n`);
  const shown = (path: string): string => paint("name", safe(relative("", path)));
  return [
    `${wrap(`${report.guest}, in QEMU ${report.qemu} ${safe(how)}`, width)}\n\n`,
    ...tables,
    heading(`A disk of ${formatSize(report.size.disk)}: time to make, on the host, after a round`),
    `${alignColumns(costs, { indent: 2, right: [false, true, true, true] })}\n`,
    heading("What the numbers say"),
    `${conclusions.join("")}\n`,
    `Report: ${shown(html)}\nNumbers: ${shown(json)}\n`,
  ].join("");
}

/** A line for each disk, a column for each workload; below it what the columns are. */
function timesTable(
  { size, costs, summaries }: GuestReport,
  cache: string,
  time: (milliseconds: number) => string,
): string {
  const letters = size.workloads.map((_kind, index) => String.fromCharCode(65 + index));
  const rows = costs.map(({ label }) => [
    label,
    ...size.workloads.map(({ id }) => {
      const found = summaries.find(
        (entry) => entry.cache === cache && entry.workload === id && entry.label === label,
      );
      return found === undefined ? "" : time(found.summary.median);
    }),
  ]);
  const right = [false, ...letters.map(() => true)];
  const keys = size.workloads.map(({ label }, index) => `  ${letters[index]}  ${label}\n`);
  return `${alignColumns([["", ...letters], ...rows], { indent: 2, right })}${keys.join("")}`;
}
