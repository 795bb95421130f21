import { formatSize } from "../bytes/index.ts";
import { milliseconds } from "./conclusions.ts";
import type { GuestLabReport, GuestMeasure } from "./guest-report.ts";
import { barChart, escapeHtml, growthChart } from "./plots.ts";
import { style } from "./report-style.ts";

/** Colours for the ways that the other lab does not have. */
const looks: Readonly<Record<string, string>> = {
  "qcow2 2 MiB clusters": "large",
  "qcow2 subclusters": "extended",
  overlay: "overlay",
  "overlay subclusters": "extended-overlay",
};
export const guestLook = (label: string): string => looks[label] ?? label.replace(" ", "-");

/** The report as one HTML page that needs nothing else. */
export function guestPage(report: GuestLabReport): string {
  const { environment, guest, rounds, diskSize, measures, conclusions } = report;
  const acceleration =
    guest.acceleration === "kvm" ? "KVM" : `emulation, TCG (${guest.reason ?? "asked for"})`;
  const machine =
    `${environment.processor}, ${environment.processors} CPUs, ${formatSize(environment.memory)} of memory; ` +
    `${environment.system}; ${environment.filesystem} of ${formatSize(environment.filesystemSize)}; ` +
    `guest: ${guest.system} under ${acceleration}`;
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
<p class="lead">Disks of ${formatSize(diskSize)}, made in ${measures[0]!.costs.length} ways, written to and read by fio in a guest.</p>
<p class="faint">${escapeHtml(machine)}. ${escapeHtml(environment.date.slice(0, 16).replace("T", " "))} UTC, ${Math.round(report.seconds / 60)} minutes.</p>
</header>
<section>
<h2>In short</h2>
<ul>${conclusions.map((line) => `<li>${escapeHtml(line)}</li>`).join("\n")}</ul>
</section>
${measures.map((measure) => measureSection(report, measure)).join("\n")}
${costSection(measures[0]!)}
${measures.map(growthSection).join("\n")}
<footer>
<p>Made by <code>platter lab --guest</code>, ${rounds} rounds of alternating order, each on a part of the disk of its own; medians with quartiles. A difference is named only if it is at least 10 % and sure by 99 %. All numbers are in <code>guest-report.json</code> beside this page.</p>
</footer>
</main>
</body>
</html>
`;
}

function measureSection({ workloads }: GuestLabReport, measure: GuestMeasure): string {
  const charts = workloads.map(
    ({ id, label, count, blockSize }) =>
      `<figure><figcaption>${escapeHtml(label)} <span class="faint">${count} requests of ${formatSize(blockSize)}</span></figcaption>
${workloadChart(measure, id, label)}</figure>`,
  );
  return `<section>
<h2>With cache=${measure.cache}</h2>
<p>Time of the work in the guest; shorter is faster. QEMU took ${milliseconds(measure.processor)} of processor time for all of it.</p>
${charts.join("\n")}
</section>`;
}

/** Times of one kind of work on all images, as SVG. */
export function workloadChart({ summaries }: GuestMeasure, id: string, label: string): string {
  const bars = Object.entries(summaries).map(([name, byWorkload]) => ({
    label: name,
    summary: byWorkload[id]!,
    look: guestLook(name),
  }));
  return barChart(label, bars, milliseconds);
}

function costSection({ costs }: GuestMeasure): string {
  const rows = costs.map(
    ({ label, milliseconds: time, fileLength, allocated }) =>
      `<tr><th scope="row">${escapeHtml(label)}</th><td>${milliseconds(time)}</td><td>${formatSize(fileLength)}</td><td>${formatSize(allocated)}</td></tr>`,
  );
  const head = ["Image", "Time to make it", "File", "On host"];
  return `<section>
<h2>What it costs</h2>
<p>Making the empty disk, until it is on stable storage, and what it takes then.</p>
<div class="scroll"><table><thead><tr>${head.map((text) => `<th scope="col">${text}</th>`).join("")}</tr></thead><tbody>${rows.join("\n")}</tbody></table></div>
</section>`;
}

function growthSection({ cache, samples }: GuestMeasure): string {
  const lines = Object.entries(samples).map(([label, list]) => ({
    label,
    look: guestLook(label),
    points: list.map(({ time, allocated }) => ({ x: time / 1000, y: allocated })),
  }));
  return `<section>
<h2>How the files grew, cache=${cache}</h2>
<p>What each file takes on the host while the guest works, over seconds.</p>
<figure>${growthChart(`Space taken on the host, cache=${cache}`, lines, formatSize)}</figure>
</section>`;
}
