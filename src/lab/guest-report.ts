/** What the lab found out in a guest. */
import type { LabEnvironment } from "./environment.ts";
import { guestCandidates, PLAIN, PLAIN_OVERLAY } from "./guest-candidates.ts";
import type { GuestWorkload, JobSize } from "./guest-job.ts";
import type { DiskMeasurement, GuestCache, HostSample } from "./guest-run.ts";
import { compareTimes, summarize, type Comparison, type Summary } from "./statistics.ts";

/** One start of the guest. */
export interface GuestRound {
  readonly cache: GuestCache;
  /** In the order in which they were measured. */
  readonly disks: readonly DiskMeasurement[];
  /** Milliseconds that making each image took, until it was on stable storage. */
  readonly creation: Readonly<Record<string, number>>;
  /** Bytes that each took on the host when it was empty. */
  readonly empty: Readonly<Record<string, number>>;
}

/** One way of making a disk beside another, for one kind of access. */
export interface GuestComparison {
  readonly cache: GuestCache;
  readonly workload: string;
  readonly baseline: string;
  readonly label: string;
  readonly comparison: Comparison;
}

/** What a way of making a disk costs. Milliseconds and bytes. */
export interface GuestCost {
  readonly label: string;
  readonly creation: Summary;
  /** On the host: empty, and after all workloads of a round. */
  readonly empty: number;
  readonly written: number;
  /** Processor time of QEMU in a round. */
  readonly cpu: Summary;
}

/** Which disk to take, and why. */
export interface Recommendation {
  /** Undefined if there is no difference that can be measured. */
  readonly label: string | undefined;
  readonly text: string;
}

/** Everything that one run found. */
export interface GuestReport {
  readonly report: "platter lab --guest";
  readonly version: 1;
  readonly environment: LabEnvironment;
  /** Kernel and fio. */
  readonly guest: string;
  readonly qemu: string;
  readonly acceleration: "kvm" | "tcg";
  /** Why not KVM. */
  readonly accelerationReason: string | undefined;
  readonly size: JobSize;
  readonly rounds: readonly GuestRound[];
  readonly summaries: ReadonlyArray<{
    readonly cache: GuestCache;
    readonly workload: string;
    readonly label: string;
    readonly summary: Summary;
  }>;
  readonly comparisons: readonly GuestComparison[];
  readonly costs: readonly GuestCost[];
  /** How the image files grew in the first round of the first cache mode. */
  readonly growth: ReadonlyArray<{
    readonly label: string;
    readonly samples: readonly HostSample[];
  }>;
  readonly recommendation: Recommendation;
  readonly conclusions: readonly string[];
}

/** What each way is compared with. */
const pairs: ReadonlyArray<readonly [baseline: string, label: string]> = [
  ["raw off", "raw falloc"],
  ["raw off", "raw full"],
  ["raw off", PLAIN],
  ...guestCandidates
    .filter(({ label, format, isOverlay }) => format === "qcow2" && !isOverlay && label !== PLAIN)
    .map(({ label }) => [PLAIN, label] as const),
  ["raw full", "qcow2 full"],
  [PLAIN_OVERLAY, "overlay extended L2"],
];

/** Milliseconds, one a round, in the order of the rounds. */
function timesOf(
  rounds: readonly GuestRound[],
  cache: GuestCache,
  label: string,
  workload: string,
): number[] {
  return rounds
    .filter((round) => round.cache === cache)
    .flatMap(({ disks }) => disks.find((disk) => disk.label === label)?.times[workload] ?? []);
}

/** Sums up rounds. */
export function evaluateRounds(
  rounds: readonly GuestRound[],
  workloads: readonly GuestWorkload[],
): Pick<GuestReport, "summaries" | "comparisons" | "costs" | "growth"> {
  const caches = [...new Set(rounds.map(({ cache }) => cache))];
  const labels = guestCandidates
    .map(({ label }) => label)
    .filter((label) => rounds[0]?.disks.some((disk) => disk.label === label));
  const cells = caches.flatMap((cache) => workloads.map(({ id }) => ({ cache, workload: id })));
  const summaries = cells.flatMap((cell) =>
    labels.map((label) => ({
      ...cell,
      label,
      summary: summarize(timesOf(rounds, cell.cache, label, cell.workload)),
    })),
  );
  const known = pairs.filter((pair) => pair.every((label) => labels.includes(label)));
  const comparisons = cells.flatMap(({ cache, workload }) =>
    known.map(([baseline, label]) => ({
      cache,
      workload,
      baseline,
      label,
      comparison: compareTimes(
        timesOf(rounds, cache, baseline, workload),
        timesOf(rounds, cache, label, workload),
      ),
    })),
  );
  const costs = labels.map((label) => costOf(label, rounds));
  const growth = (rounds[0]?.disks ?? []).map((disk) => ({
    label: disk.label,
    samples: disk.samples,
  }));
  const inOrder = labels.flatMap((label) => growth.find((entry) => entry.label === label) ?? []);
  return { summaries, comparisons, costs, growth: inOrder };
}

function costOf(label: string, rounds: readonly GuestRound[]): GuestCost {
  const disks = rounds.flatMap((round) => round.disks.filter((disk) => disk.label === label));
  const written = disks.map(({ samples }) => samples.at(-1)?.allocated ?? 0);
  return {
    label,
    creation: summarize(rounds.map(({ creation }) => creation[label] ?? 0)),
    empty: summarize(rounds.map(({ empty }) => empty[label] ?? 0)).median,
    written: Math.max(...written),
    cpu: summarize(disks.map(({ cpu }) => cpu)),
  };
}
