import type { DuResult, FilePart } from "../commands/index.ts";
import { compareTimes, summarize, type Comparison, type Summary } from "./statistics.ts";
import type { LabEnvironment } from "./environment.ts";
import type { FilledDisk } from "./tree.ts";
import { workloads, type Times, type Workload } from "./workload.ts";

/** How long making an image took, in milliseconds, until it was on stable storage. */
export interface Creation {
  readonly label: string;
  readonly times: readonly number[];
  readonly summary: Summary;
}

/** What an image file looks like: what most of each equal piece of it is. */
export interface Picture {
  readonly label: string;
  readonly strip: readonly FilePart[];
}

/** One way of preallocating beside the plain way, for one kind of writing. */
export interface WriteComparison {
  readonly workload: Workload["id"];
  /** What it is compared with: the sparse image of the same format, or the raw one. */
  readonly baseline: string;
  readonly label: string;
  readonly comparison: Comparison;
}

/** Everything that one run of the lab found. Sizes are bytes, times are milliseconds. */
export interface LabReport {
  readonly report: "platter lab";
  readonly version: 1;
  readonly environment: LabEnvironment;
  readonly diskSize: number;
  readonly creation: readonly Creation[];
  /** The images when they were new. */
  readonly empty: DuResult;
  readonly filled: FilledDisk & {
    /** Milliseconds that putting the files on each image took, flushed. */
    readonly times: ReadonlyArray<{ readonly label: string; readonly milliseconds: number }>;
  };
  readonly conversion: {
    readonly from: string;
    readonly to: string;
    readonly milliseconds: number;
    readonly identical: boolean;
  };
  /** The images with files on them, and the converted one. */
  readonly written: DuResult;
  readonly pictures: readonly Picture[];
  readonly writes: {
    readonly diskSize: number;
    readonly rounds: number;
    readonly workloads: readonly Workload[];
    readonly times: Times;
    readonly summaries: Readonly<Record<string, Readonly<Record<Workload["id"], Summary>>>>;
    readonly comparisons: readonly WriteComparison[];
  };
  /** What the numbers say, in sentences. */
  readonly conclusions: readonly string[];
}

/** Every comparison that is of interest: each way with the sparse image of its format, and the two. */
const pairs: ReadonlyArray<readonly [baseline: string, label: string]> = [
  ["raw off", "raw falloc"],
  ["raw off", "raw full"],
  ["qcow2 off", "qcow2 metadata"],
  ["qcow2 off", "qcow2 falloc"],
  ["qcow2 off", "qcow2 full"],
  ["qcow2 metadata", "qcow2 falloc"],
  ["qcow2 metadata", "qcow2 full"],
  ["raw off", "qcow2 off"],
  ["raw off", "qcow2 metadata"],
];

/** Sums up the measured times. */
export function evaluateWrites(times: Times, diskSize: number): LabReport["writes"] {
  const summaries: Record<string, Record<Workload["id"], Summary>> = {};
  for (const [label, byWorkload] of Object.entries(times)) {
    summaries[label] = Object.fromEntries(
      workloads.map(({ id }) => [id, summarize(byWorkload[id])]),
    ) as Record<Workload["id"], Summary>;
  }
  const comparisons = workloads.flatMap(({ id }) =>
    pairs.map(([baseline, label]) => ({
      workload: id,
      baseline,
      label,
      comparison: compareTimes(times[baseline]![id], times[label]![id]),
    })),
  );
  const rounds = times["raw off"]!["first-random"].length;
  return { diskSize, rounds, workloads, times, summaries, comparisons };
}
