import { formatSize } from "../bytes/index.ts";
import {
  explainUsage,
  explainVolumes,
  percent,
  type DuResult,
  type FilePart,
} from "../commands/index.ts";
import { milliseconds } from "./conclusions.ts";
import { barChart, emphasized, escapeHtml, stripChart } from "./plots.ts";
import type { LabReport } from "./report.ts";
import { style } from "./report-style.ts";

/** The parts of a file as the pictures tell them apart: class, and words for the legend. */
const looks: Readonly<Record<FilePart, string>> = {
  header: "metadata",
  "refcount table": "metadata",
  "refcount blocks": "metadata",
  "L1 table": "metadata",
  "L2 tables": "metadata",
  bitmaps: "metadata",
  "snapshot tables": "metadata",
  "snapshot data": "data",
  data: "data",
  compressed: "data",
  "preallocated and unwritten": "reserved",
  "preallocated on a hole": "placed",
  zeroed: "placed",
  leaked: "unknown",
  unknown: "unknown",
  free: "hole",
  holes: "hole",
};

const legend = [
  ["metadata", "tables of the format"],
  ["data", "written"],
  ["reserved", "preallocated, reserved on the host, unwritten"],
  ["placed", "preallocated on a hole"],
  ["hole", "hole"],
] as const;

/** The report as one HTML page that needs nothing else. */
export function reportPage(report: LabReport): string {
  const { environment, diskSize, conclusions } = report;
  const machine =
    `${environment.processor}, ${environment.processors} CPUs, ${formatSize(environment.memory)} of memory; ` +
    `${environment.system}; ${environment.filesystem} of ${formatSize(environment.filesystemSize)}; ` +
    `Node ${environment.node}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What preallocation does: measured on ${escapeHtml(environment.filesystem)}</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<h1>What preallocation does</h1>
<p class="lead">Seven ways of making a disk image of ${formatSize(diskSize)}, looked at and measured on one machine.</p>
<p class="faint">${escapeHtml(machine)}. ${escapeHtml(environment.date.slice(0, 16).replace("T", " "))} UTC.</p>
</header>
<section>
<h2>In short</h2>
<ul>${conclusions.map((line) => `<li>${emphasized(line)}</li>`).join("\n")}</ul>
</section>
${creationSection(report)}
${emptySection(report)}
${writtenSection(report)}
${picturesSection(report)}
${writesSection(report)}
<footer>
<p>Made by <code>platter lab</code>. Repeat it on your own machine with <code>npx platter lab --size ${diskSize / 2 ** 20}M --rounds ${report.writes.rounds}</code>; all numbers are in <code>report.json</code> beside this page.</p>
</footer>
</main>
</body>
</html>
`;
}

function creationSection({ creation }: LabReport): string {
  const bars = creation.map(({ label, summary }) => ({ label, summary, look: lookOf(label) }));
  return `<section>
<h2>Making the image</h2>
<p>Time until the empty image is on the disk, flushed: median of ${creation[0]!.times.length} rounds, with quartiles.</p>
<figure>${barChart("Time to make an empty image", bars, milliseconds)}</figure>
</section>`;
}

const lookOf = (label: string): string => label.replace(" ", "-");

function emptySection({ empty }: LabReport): string {
  return `<section>
<h2>What the empty images look like</h2>
<p><code>ls -l</code> shows the length of the file; <code>stat</code>, <code>du</code> and the “disk size” of <code>qemu-img info</code> show what the host has allocated. Both are right.</p>
${usageTable(empty)}
${notes(empty)}
</section>`;
}

function writtenSection({ written, filled, conversion }: LabReport): string {
  const { tree, contents } = filled;
  return `<section>
<h2>With real files on them</h2>
<p>${tree.files.toLocaleString("en")} files, ${formatSize(tree.bytes)} from <code>${escapeHtml(tree.source)}</code>, as an ${contents}. <code>converted.qcow2</code> is the sparse raw image after conversion, which took ${milliseconds(conversion.milliseconds)}; ${conversion.identical ? "it holds the same disk" : "IT HOLDS ANOTHER DISK"}.</p>
${usageTable(written)}
<p class="faint">${explainVolumes(written).map(escapeHtml).join("<br>")}</p>
</section>`;
}

function usageTable({ images }: DuResult): string {
  const isScanned = images.some(({ nonZero }) => nonZero !== undefined);
  const heads = ["Image", "Disk", "File", "On host", "Written", ...(isScanned ? ["Not zero"] : [])];
  const rows = images.map((image) => {
    const cells = [
      formatSize(image.virtualSize),
      formatSize(image.fileLength),
      image.allocated === undefined ? "unknown" : formatSize(image.allocated),
      `${formatSize(image.written)} <span class="faint">${escapeHtml(percent(image.written, image.virtualSize))}</span>`,
      ...(isScanned ? [formatSize(image.nonZero?.bytes ?? 0)] : []),
    ];
    return (
      `<tr><th scope="row">${escapeHtml(image.filename)}</th>` +
      `${cells.map((cell) => `<td>${cell}</td>`).join("")}<td class="word">${image.preallocation}</td></tr>`
    );
  });
  const head = [...heads, "Preallocation"].map((text) => `<th scope="col">${text}</th>`).join("");
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${rows.join("\n")}</tbody></table></div>`;
}

function notes(usage: DuResult): string {
  const items = explainUsage(usage).map(
    ({ filenames, text }) =>
      `<dt>${filenames.map((name) => `<code>${escapeHtml(name)}</code>`).join(", ")}</dt><dd>${withCode(text)}</dd>`,
  );
  return `<dl>${items.join("\n")}</dl>`;
}

/** Names of programs stand between backticks. */
const withCode = (text: string): string =>
  escapeHtml(text).replaceAll(/`([^`]+)`/g, "<code>$1</code>");

function picturesSection({ pictures, written }: LabReport): string {
  const longest = Math.max(...written.images.map(({ fileLength }) => fileLength));
  const rows = pictures.map(({ label, strip }, index) => {
    const length = written.images[index]!.fileLength;
    const chart = stripChart(
      `The file ${label} from start to end`,
      strip.map((part) => looks[part]),
    );
    const share = Math.max(0.5, (length / longest) * 100).toFixed(1);
    return `<div class="row"><span class="name">${escapeHtml(label)}</span><span class="track"><span style="width:${share}%">${chart}</span></span></div>`;
  });
  const keys = legend.map(
    ([look, words]) =>
      `<span class="key"><svg viewBox="0 0 1 1"><rect class="${look}" width="1" height="1"/></svg>${words}</span>`,
  );
  return `<section>
<h2>The files, from start to end</h2>
<p>Each line is one file with the real files on it, as long as the file is.</p>
<div class="pictures">${rows.join("\n")}</div>
<p class="keys">${keys.join(" ")}</p>
</section>`;
}

function writesSection({ writes }: LabReport): string {
  const charts = writes.workloads.map(({ id, label, count, blockSize, flushEvery }) => {
    const bars = Object.entries(writes.summaries).map(([name, byWorkload]) => ({
      label: name,
      summary: byWorkload[id],
      look: lookOf(name),
    }));
    return `<figure><figcaption>${escapeHtml(label)} <span class="faint">${count} requests of ${formatSize(blockSize)}, a flush after every ${flushEvery}</span></figcaption>
${barChart(label, bars, milliseconds)}</figure>`;
  });
  return `<section>
<h2>Is it faster?</h2>
<p>Time to write to a fresh image through Platter's own driver, flushes included: median of ${writes.rounds} rounds in alternating order, with quartiles. Shorter is faster. A difference is named above only if it is at least 10 % and sure by 99 %, in its size and in how many rounds agree on it.</p>
${charts.join("\n")}
</section>`;
}
