import { formatSize } from "../bytes/index.ts";
import type { ImageUsage } from "../commands/index.ts";
import { leastRounds } from "./statistics.ts";
import type { LabReport, WriteComparison } from "./report.ts";

/** What the numbers of a run say. Nothing is said that they do not show. */
export function conclude(report: Omit<LabReport, "conclusions">): string[] {
  const { rounds } = report.writes;
  return [
    ...(rounds < leastRounds
      ? [
          `Only ${rounds} rounds: too few to be sure of any difference in writing; take ${leastRounds} or more.`,
        ]
      : []),
    aboutChoice(report),
    aboutSpace(report),
    aboutCreation(report),
    ...aboutWrites(report),
    aboutFormats(report),
    aboutConversion(report),
  ];
}

/** What the comparisons come to for somebody who makes a qcow2 image. */
function aboutChoice({ writes }: Omit<LabReport, "conclusions">): string {
  const beside = (baseline: string, label: string): WriteComparison[] =>
    writes.comparisons.filter((pair) => pair.baseline === baseline && pair.label === label);
  const words = (pairs: readonly WriteComparison[]): string =>
    pairs
      .map((pair) => {
        const { label } = writes.workloads.find(({ id }) => id === pair.workload)!;
        return `${lowerFirst(label)} ${factor(pair)}`;
      })
      .join("; ");
  const differs = (pair: WriteComparison): boolean => pair.comparison.verdict !== "same";
  const gains = beside("qcow2 off", "qcow2 metadata").filter(differs);
  const metadata =
    gains.length === 0
      ? "preallocation=metadata made no measurable difference to a qcow2 image"
      : `preallocation=metadata made a qcow2 image different from one without: ${words(gains)}`;
  const more = ["qcow2 falloc", "qcow2 full"].flatMap((label) =>
    beside("qcow2 metadata", label)
      .filter(differs)
      .map((pair) => `${label}: ${words([pair])}`),
  );
  const space =
    more.length === 0
      ? "reserving the space as well (falloc, full) made no measurable difference to that"
      : `compared with metadata, ${more.join("; ")}`;
  return `On this machine: ${metadata}. Beyond that, ${space}.`;
}

/** For a label inside a sentence. */
export const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

function aboutSpace({ empty, diskSize }: Omit<LabReport, "conclusions">): string {
  const find = (format: string, mode: string): ImageUsage | undefined =>
    empty.images.find((image) => image.format === format && image.preallocation === mode);
  const metadata = find("qcow2", "metadata");
  const off = find("qcow2", "off");
  if (metadata?.allocated === undefined || off?.allocated === undefined) {
    return "Space: this host does not tell what files take, so the modes cannot be told apart by it.";
  }
  return (
    `Space: an empty qcow2 disk of ${formatSize(diskSize)} with preallocation=metadata is a file of ` +
    `${formatSize(metadata.fileLength)} that takes ${formatSize(metadata.allocated)} on the host, ` +
    `without preallocation one of ${formatSize(off.fileLength)} that takes ` +
    `${formatSize(off.allocated)}. Only falloc and full take the space of the whole disk.`
  );
}

function aboutCreation({ creation }: Omit<LabReport, "conclusions">): string {
  const slowest = creation.toSorted((a, b) => b.summary.median - a.summary.median);
  const full = slowest.filter(({ label }) => label.endsWith("full"));
  const most = slowest.find(({ label }) => !label.endsWith("full"))!;
  const times = full.map(({ label, summary }) => `${label} took ${milliseconds(summary.median)}`);
  return (
    `Making the image: ${times.join(" and ")}; of the others ${most.label} took longest, ` +
    `${milliseconds(most.summary.median)}.`
  );
}

/** For each kind of writing and each format one sentence. */
function aboutWrites({ writes }: Omit<LabReport, "conclusions">): string[] {
  return writes.workloads.flatMap(({ id, label }) =>
    ["raw", "qcow2"].map((format) => {
      const own = writes.comparisons.filter(
        (pair) =>
          pair.workload === id &&
          pair.baseline === `${format} off` &&
          pair.label.startsWith(format),
      );
      return `${label}, ${format}: ${compared(own, `${format} off`)}`;
    }),
  );
}

function compared(pairs: readonly WriteComparison[], baseline: string): string {
  const different = pairs.filter(({ comparison }) => comparison.verdict !== "same");
  if (different.length === 0) {
    return "no measurable difference between the preallocation modes.";
  }
  const told = different.map((pair) => `${pair.label} is ${factor(pair)}`);
  const same = pairs.filter(({ comparison }) => comparison.verdict === "same");
  const rest =
    same.length === 0
      ? ""
      : `; no measurable difference for ${same.map((p) => p.label).join(", ")}`;
  return `compared with ${baseline}, ${told.join(", ")}${rest}.`;
}

/** "1.4 times as fast (1.2 to 1.6)". */
export function factor({ comparison }: Pick<WriteComparison, "comparison">): string {
  const { ratio, low, high, verdict } = comparison;
  const range = (a: number, b: number) => `${number(a)} to ${number(b)}`;
  return verdict === "faster"
    ? `${number(ratio)} times as fast (${range(low, high)})`
    : `${number(1 / ratio)} times as slow (${range(1 / high, 1 / low)})`;
}

function aboutFormats({ writes }: Omit<LabReport, "conclusions">): string {
  const told = writes.workloads.map(({ id, label }) => {
    const pair = writes.comparisons.find(
      (found) =>
        found.workload === id && found.baseline === "raw off" && found.label === "qcow2 metadata",
    )!;
    const verdict = pair.comparison.verdict === "same" ? "no measurable difference" : factor(pair);
    return `${lowerFirst(label)}: ${verdict}`;
  });
  return `qcow2 with preallocation=metadata beside a sparse raw file: ${told.join("; ")}.`;
}

function aboutConversion({ conversion, filled }: Omit<LabReport, "conclusions">): string {
  const find = (label: string) => filled.times.find((entry) => entry.label === label)?.milliseconds;
  const raw = find("raw off");
  const direct = find("qcow2 metadata");
  const verdict = conversion.identical ? "the same disk" : "NOT the same disk";
  const detour =
    raw === undefined || direct === undefined
      ? ""
      : ` Writing the files to raw and converting took ${milliseconds(raw + conversion.milliseconds)}, ` +
        `writing them straight to qcow2 with preallocation=metadata ${milliseconds(direct)} (once each).`;
  return `Converting raw to qcow2 took ${milliseconds(conversion.milliseconds)} and gave ${verdict}.${detour}`;
}

/** "3 ms", "240 ms", "1.4 s". */
export function milliseconds(time: number): string {
  if (time >= 1000) return `${(time / 1000).toFixed(1)} s`;
  return time >= 10 ? `${Math.round(time)} ms` : `${time.toFixed(1)} ms`;
}

const number = (value: number): string => value.toFixed(value < 10 ? 2 : 1);
