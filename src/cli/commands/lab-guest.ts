/** `platter lab --guest`. */
import { relative } from "node:path";
import { formatSize, type GuestLabReport } from "../contract.ts";
import { alignColumns, wrap } from "../layout.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { OptionSpec } from "../spec.ts";
import { usageError } from "../usage.ts";

/** What `lab` takes for that. */
export const guestLabOptions: readonly OptionSpec[] = [
  {
    id: "guest",
    friendly: "guest",
    summary: "measure in a guest: QEMU, and a small Linux of Debian's packages, fetched once",
    group: "Behaviour",
  },
  {
    id: "quick",
    friendly: "quick",
    summary: "with --guest: the usual ways of making images, and cache=none only",
    group: "Behaviour",
  },
  {
    id: "only",
    friendly: "only",
    argument: "way",
    repeatable: true,
    summary:
      'with --guest: measure this way, such as "qcow2 metadata", and what it is compared with',
    group: "Behaviour",
  },
  {
    id: "kernel",
    friendly: "kernel",
    argument: "file",
    completes: "file",
    summary: "with --guest: another kernel",
    group: "Behaviour",
  },
  {
    id: "initrd",
    friendly: "initrd",
    argument: "file",
    completes: "file",
    summary: "with --kernel: its initrd, which has /busybox and /fio",
    group: "Behaviour",
  },
];

/** Options that only one of the two labs knows. */
export function checkGuestLabOptions(parsed: Parsed): void {
  const isGuest = parsed.has("guest");
  const alien = isGuest ? ["size", "tree", "keep"] : ["quick", "only", "kernel", "initrd"];
  const found = alien.find((id) => parsed.has(id));
  if (found === undefined) return;
  const message = `--${found} ${isGuest ? "cannot be combined with" : "is for"} --guest.`;
  throw usageError(message, message);
}

/** Runs it, and prints what it found. */
export async function runGuestLab(
  parsed: Parsed,
  session: Session,
  directory: string,
  rounds: number,
): Promise<number> {
  const { guestLab, milliseconds } = await session.services.laboratory();
  const only = parsed.values("only");
  const options = {
    directory,
    rounds,
    quick: parsed.has("quick"),
    only: only.length === 0 ? undefined : only,
    kernel: parsed.value("kernel"),
    initrd: parsed.value("initrd"),
  };
  const notes: string[] = [];
  const { report, json, html } = await session.withProgress(
    parsed,
    { step: 1, eager: false },
    async (display) => {
      const context = await session.context((progress) => display.update(progress));
      const done = await guestLab(options, context, (note) => notes.push(note));
      display.finish();
      return done;
    },
  );
  if (parsed.has("json")) {
    session.print(`${JSON.stringify(report, undefined, 2)}\n`);
    return 0;
  }
  const { paint, safe, environment } = session;
  const width = Math.min(environment.stdout.columns, 100);
  for (const note of notes) session.print(`${wrap(note, width, 0)}\n`);
  session.print(tables(report, session, milliseconds));
  const conclusions = report.conclusions.map((line) => `- ${wrap(line, width, 2).trim()}\n`);
  session.print(`${paint("heading", "What the numbers say")}\n${conclusions.join("")}\n`);
  const shown = (path: string): string => paint("name", safe(relative("", path)));
  session.print(`Report: ${shown(html)}\nNumbers: ${shown(json)}\n`);
  return 0;
}

/** For each cache mode, the images and how long each kind of work took on them. */
function tables(
  { measures, workloads }: GuestLabReport,
  { paint }: Session,
  time: (milliseconds: number) => string,
): string {
  return measures
    .map(({ cache, costs, summaries }) => {
      const head = ["", ...costs.map(({ label }) => label)];
      const cells = workloads.map(({ id, label }) => [
        label,
        ...costs.map((cost) => time(summaries[cost.label]![id]!.median)),
      ]);
      const made = ["Making it", ...costs.map((cost) => time(cost.milliseconds))];
      const space = ["On host, empty", ...costs.map((cost) => formatSize(cost.allocated))];
      const rows = [head, ...cells, made, space];
      const right = rows[0]!.map((_, index) => index > 0);
      return `${paint("heading", `Time in the guest, cache=${cache} (medians)`)}\n${alignColumns(rows, { indent: 2, right })}\n`;
    })
    .join("");
}
