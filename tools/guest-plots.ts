/**
 * The pictures of docs/preallocation.md, from the numbers of a run:
 * `node tools/guest-plots.ts platter-lab/report.json`.
 *
 * Pictures in Markdown have no style sheet around them, so each takes the report's own along.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { growthChart, timesChart } from "../src/lab/guest-page.ts";
import type { GuestReport } from "../src/lab/guest-report.ts";
import { style } from "../src/lab/report-style.ts";

const directory = join(import.meta.dirname, "../docs/preallocation");

/** The rules that charts need. A file that is looked at by itself has no root but its own. */
const rules = style
  .split("\n")
  .filter((line) =>
    /--|@media|^ *[{}]|:root|^svg (text|\.)|^\.(line|axis|raw|qcow2|over)/.test(line),
  )
  .join("\n");

function write(name: string, chart: string): void {
  const [head = "", ...rest] = chart.split("\n");
  const open = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"');
  const paper = '<rect width="100%" height="100%" fill="var(--paper)"/>';
  const text = [open, `<style>${rules}</style>`, paper, ...rest].join("\n");
  writeFileSync(join(directory, `${name}.svg`), `${text}\n`);
}

const [from] = process.argv.slice(2);
if (from === undefined) throw new Error("Name the report.json of a run.");
const report = JSON.parse(readFileSync(from, "utf8")) as GuestReport;
mkdirSync(directory, { recursive: true });
for (const cache of new Set(report.rounds.map((round) => round.cache))) {
  for (const { id } of report.size.workloads) {
    write(`${id}-${cache}`, timesChart(report, id, cache));
  }
}
write("growth", growthChart(report));
