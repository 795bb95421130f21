/** The report about a guest as one HTML page that needs nothing else. */
import { formatSize } from "../bytes/index.ts";
import { milliseconds } from "./conclusions.ts";
import { requestsOf } from "./guest-job.ts";
import type { GuestReport } from "./guest-report.ts";
import { barChart, emphasized, escapeHtml, lineChart } from "./plots.ts";
import { style } from "./report-style.ts";

const accelerations = {
  kvm: "on the processor (KVM)",
  tcg: "on an emulated processor (TCG), so the guest's own part of each time is longer than under KVM",
} as const;

/** Writes the page. */
export function guestPage(report: GuestReport): string {
  const { environment, size, conclusions, acceleration, accelerationReason } = report;
  const machine =
    `${environment.processor}, ${environment.processors} CPUs, ${formatSize(environment.memory)} of memory; ` +
    `${environment.system}; ${environment.filesystem} of ${formatSize(environment.filesystemSize)}; ` +
    `QEMU ${report.qemu}; ${report.guest}`;
  const why = accelerationReason === undefined ? "" : `: ${accelerationReason}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What preallocation does for a guest: measured on ${escapeHtml(environment.filesystem)}</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<h1>What preallocation does for a guest</h1>
<p class="lead">${report.costs.length} ways of making a disk of ${formatSize(size.disk)}, measured by fio inside of a guest.</p>
<p class="faint">${escapeHtml(machine)}. ${escapeHtml(environment.date.slice(0, 16).replace("T", " "))} UTC. The guest ran ${escapeHtml(accelerations[acceleration] + why)}.</p>
</header>
<section>
<h2>In short</h2>
<ul>${conclusions.map((line) => `<li>${emphasized(line)}</li>`).join("\n")}</ul>
</section>
${timesSection(report)}
${costSection(report)}
${growthSection(report)}
<footer>
<p>Made by <code>platter lab --guest</code>; all numbers are in <code>report.json</code> beside this page.</p>
</footer>
</main>
</body>
</html>
`;
}

const lookOf = (label: string): string => label.replaceAll(" ", "-");

function timesSection(report: GuestReport): string {
  const caches = [...new Set(report.rounds.map(({ cache }) => cache))];
  const counts = caches.map(
    (cache) => `${report.rounds.filter((round) => round.cache === cache).length} with ${cache}`,
  );
  return `<section>
<h2>Is it faster?</h2>
<p>Time in the guest, flushes included: median of the rounds (${counts.join(", ")}) in alternating order, with quartiles. Shorter is faster. A difference is named above only if it is at least 10 % and sure by 99 %, in its size and in how many rounds agree on it.</p>
${report.size.workloads.flatMap((kind) => caches.map((cache) => timesFigure(report, kind.id, cache))).join("\n")}
</section>`;
}

/** The chart of one workload. */
export function timesChart(report: GuestReport, workload: string, cache: string): string {
  const bars = report.summaries
    .filter((entry) => entry.cache === cache && entry.workload === workload)
    .map(({ label, summary }) => ({ label, summary, look: lookOf(label) }));
  return barChart(`${workload}, cache=${cache}`, bars, milliseconds);
}

function timesFigure(report: GuestReport, workload: string, cache: string): string {
  const kind = report.size.workloads.find(({ id }) => id === workload);
  if (kind === undefined) return "";
  const what = `${requestsOf(kind, report.size)} requests, cache=${cache}`;
  return `<figure><figcaption>${escapeHtml(kind.label)} <span class="faint">${what}</span></figcaption>
${timesChart(report, workload, cache)}</figure>`;
}

function costSection({ costs, size }: GuestReport): string {
  const rows = costs.map(({ label, creation, empty, written, cpu }) => {
    const cells = [
      milliseconds(creation.median),
      formatSize(empty),
      formatSize(written),
      milliseconds(cpu.median),
    ];
    return `<tr><th scope="row">${escapeHtml(label)}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  });
  const head = ["Disk", "To make", "On host, empty", "After a round", "QEMU’s processor time"];
  return `<section>
<h2>What it costs</h2>
<p>For a disk of ${formatSize(size.disk)}. Times are medians; QEMU’s processor time is that of one disk in one round, the guest’s own included.</p>
<div class="scroll"><table><thead><tr>${head.map((text) => `<th scope="col">${text}</th>`).join("")}</tr></thead><tbody>${rows.join("\n")}</tbody></table></div>
</section>`;
}

/** How the files grew. */
export function growthChart({ growth }: GuestReport): string {
  const lines = growth.map(({ label, samples }) => ({
    label,
    look: lookOf(label),
    points: samples.map(({ at, allocated }) => ({ x: at, y: allocated })),
  }));
  return lineChart("Space on the host while a disk is measured", lines, {
    x: milliseconds,
    y: formatSize,
  });
}

function growthSection(report: GuestReport): string {
  return `<section>
<h2>How the files grow</h2>
<p>What each image takes on the host while its disk is measured, in the first round.</p>
<figure>${growthChart(report)}</figure>
</section>`;
}
