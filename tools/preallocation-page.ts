/**
 * docs/preallocation.md and its pictures, from the numbers of a run:
 * `node tools/preallocation-page.ts platter-lab/report.json "what else to know of this run" …`.
 *
 * Conclusions are drawn anew. The numbers of the rounds are kept beside the pictures, so that others can draw theirs.
 * Pictures in Markdown have no style sheet around them, so each takes the report's own along.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { formatSize } from "../src/bytes/index.ts";
import { concludeGuest, recommend } from "../src/lab/guest-conclusions.ts";
import { growthChart, timesChart } from "../src/lab/guest-page.ts";
import type { GuestReport } from "../src/lab/guest-report.ts";
import { requestsOf } from "../src/lab/guest-job.ts";
import { milliseconds } from "../src/lab/index.ts";
import { style } from "../src/lab/report-style.ts";

const docs = join(import.meta.dirname, "../docs");
const pictures = join(docs, "preallocation");

/** The rules that charts need. A file that is looked at by itself has no root but its own. */
const rules = style
  .split("\n")
  .filter((line) =>
    /--|@media \(prefers|^ *[{}]|:root|^svg (text|\.)|^\.(line|axis|raw|qcow2|over)/.test(line),
  )
  .join("\n");

function writePicture(name: string, chart: string): void {
  const [head = "", ...rest] = chart.split("\n");
  const open = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"');
  const paper = '<rect width="100%" height="100%" fill="var(--paper)"/>';
  const text = [open, `<style>${rules}</style>`, paper, ...rest].join("\n");
  writeFileSync(join(pictures, `${name}.svg`), `${text}\n`);
}

/** A table of medians for one cache mode: a line for each disk. */
function timesTable({ size, costs, summaries }: GuestReport, cache: string): string {
  const rows = costs.map(({ label }) => {
    const cells = size.workloads.map(({ id }) => {
      const found = summaries.find(
        (entry) => entry.cache === cache && entry.workload === id && entry.label === label,
      );
      return found === undefined ? "" : milliseconds(found.summary.median);
    });
    return `| ${label} | ${cells.join(" | ")} |`;
  });
  const head = size.workloads.map(({ label }) => label);
  return `| disk | ${head.join(" | ")} |\n| --- |${" ---: |".repeat(head.length)}\n${rows.join("\n")}`;
}

function costTable({ costs }: GuestReport): string {
  const rows = costs.map(
    ({ label, creation, empty, written, cpu }) =>
      `| ${label} | ${milliseconds(creation.median)} | ${formatSize(empty)} | ${formatSize(written)} | ${milliseconds(cpu.median)} |`,
  );
  return `| disk | to make | on the host, empty | after a round | QEMU's processor time |\n| --- | ---: | ---: | ---: | ---: |\n${rows.join("\n")}`;
}

function page(report: GuestReport): string {
  const { environment, size, rounds } = report;
  const recommendation = recommend(report);
  const conclusions = concludeGuest(report, recommendation);
  const caches = [...new Set(rounds.map(({ cache }) => cache))];
  const count = rounds.filter(({ cache }) => cache === caches[0]).length;
  const how =
    report.acceleration === "kvm"
      ? "under KVM"
      : "under TCG, an emulated processor: the guest's own part of each time is longer than it is under KVM, and differences between disks are smaller beside it";
  const charts = size.workloads.flatMap(({ id, label }) =>
    caches.map((cache) => `![${label}, cache=${cache}](preallocation/${id}-${cache}.svg)`),
  );
  const requests = size.workloads.map(
    (kind) => `- ${kind.label}: ${requestsOf(kind, size).toLocaleString("en")} requests`,
  );
  return `# What preallocation does for a guest

Measured by \`platter lab --guest\`: a small Linux under QEMU with a new disk of each kind, and fio in it on the raw
virtio disk. This page is written by \`tools/preallocation-page.ts\` from the numbers of one full run.

## The answer

On the machine below: **${recommendation.text}**

What is true there need not be true on yours. It depends on the filesystem and on what the guest does; the last
section says how to find out.

## Conditions

- ${environment.processor}, ${environment.processors} CPUs, ${formatSize(environment.memory)} of memory; ${environment.system}; ${environment.filesystem} of ${formatSize(environment.filesystemSize)}.
- QEMU ${report.qemu}, ${how}.
- Guest: ${report.guest}; O_DIRECT, libaio, eight requests at a time, or one where each is flushed. Write times contain the flush at the end.
- ${count} rounds for each cache mode, ${environment.date.slice(0, 10)}. Disks of ${formatSize(size.disk)}, made anew for each round, measured in alternating order. Overlays are over a raw file full of data.
- A difference is named only if it is at least 10 % and sure by 99 %.
${notes.map((note) => `- ${note}`).join("\n")}

${requests.join("\n")}

## What the numbers say

${conclusions.map((line) => `- ${line}`).join("\n")}

## Times

Medians.

${caches.map((cache) => `### cache=${cache}\n\n${timesTable(report, cache)}`).join("\n\n")}

## What each costs

${costTable(report)}

![Space on the host while a disk is measured](preallocation/growth.svg)

## Pictures

Medians with quartiles; shorter is faster.

${charts.join("\n\n")}

## To repeat it

\`\`\`sh
npx platter lab --guest --size ${size.disk / 2 ** 20}M --rounds ${count} /var/lib/libvirt/images/lab
\`\`\`

Name a directory on the filesystem that your images are on. \`--quick\` takes two minutes and measures less. It needs
QEMU, and Debian's package tools for the guest's system, or \`--kernel\` and \`--initrd\`. The report has all the numbers
and these pictures; those of this run are in [rounds.json](preallocation/rounds.json).
`;
}

const [from, ...notes] = process.argv.slice(2);
if (from === undefined) throw new Error("Name the report.json of a run.");
const report = JSON.parse(readFileSync(from, "utf8")) as GuestReport;
rmSync(pictures, { recursive: true, force: true });
mkdirSync(pictures, { recursive: true });
for (const cache of new Set(report.rounds.map((round) => round.cache))) {
  for (const { id } of report.size.workloads) {
    writePicture(`${id}-${cache}`, timesChart(report, id, cache));
  }
}
// A line each, without the samples, which are in the picture.
const lines = report.rounds.map((round) =>
  JSON.stringify({
    ...round,
    disks: round.disks.map(({ label, times, cpu }) => ({ label, times, cpu })),
  }),
);
writeFileSync(join(pictures, "rounds.json"), `[\n${lines.join(",\n")}\n]\n`);
writePicture("growth", growthChart(report));
writeFileSync(join(docs, "preallocation.md"), page(report));
