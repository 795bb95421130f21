import { formatSize } from "../bytes/index.ts";
import { factor, milliseconds } from "./conclusions.ts";
import type { GuestComparison, GuestLabReport, GuestMeasure } from "./guest-report.ts";
import { leastRounds } from "./statistics.ts";

type Numbers = Omit<GuestLabReport, "conclusions">;

const differs = ({ comparison }: GuestComparison): boolean => comparison.verdict !== "same";

/** What the numbers of a run say, and what to choose. Nothing is said that they do not show. */
export function concludeGuest(report: Numbers): string[] {
  const { rounds, measures, guest } = report;
  return [
    ...(rounds < leastRounds
      ? [
          `Only ${rounds} rounds: too few to be sure of any difference; take ${leastRounds} or more.`,
        ]
      : []),
    ...(guest.acceleration === "tcg"
      ? [
          "In emulation (TCG) the guest itself takes most of the time: differences between images look smaller than with KVM.",
        ]
      : []),
    ...measures.flatMap((measure) => aboutMeasure(report, measure)),
    aboutCost(measures[0]!),
    recommendation(report),
  ];
}

/** For each way a sentence about what it is compared with. */
function aboutMeasure({ workloads }: Numbers, { cache, comparisons }: GuestMeasure): string[] {
  const ways = new Map(comparisons.map(({ label, baseline }) => [label, baseline]));
  const labelOf = (id: string): string => {
    const { label } = workloads.find((workload) => workload.id === id)!;
    return label.charAt(0).toLowerCase() + label.slice(1);
  };
  return [...ways].map(([label, baseline]) => {
    const own = comparisons.filter((one) => one.label === label);
    const told = own.filter(differs).map((one) => `${labelOf(one.workload)}: ${factor(one)}`);
    const rest =
      told.length === 0
        ? "no difference that can be measured"
        : told.length < own.length
          ? `${told.join("; ")}; in all else no difference that can be measured`
          : told.join("; ");
    return `${label} beside ${baseline}, cache=${cache}: ${rest}.`;
  });
}

function aboutCost({ costs }: GuestMeasure): string {
  const told = costs.map(
    ({ label, milliseconds: time, allocated }) =>
      `${label} ${milliseconds(time)} and ${formatSize(allocated)}`,
  );
  return `Making the empty disk, and what it takes on the host at once: ${told.join("; ")}.`;
}

/** Whether a way is surely better than its baseline in something, and in nothing worse. */
function verdictOf(
  report: Numbers,
  label: string,
): { better: GuestComparison[]; worse: GuestComparison[] } {
  const own = report.measures.flatMap(({ comparisons }) =>
    comparisons.filter((one) => one.label === label),
  );
  const having = (verdict: "faster" | "slower"): GuestComparison[] =>
    own.filter(({ comparison }) => comparison.verdict === verdict);
  return { better: having("faster"), worse: having("slower") };
}

/** What to choose for a qcow2 disk on this machine, and why. */
function recommendation(report: Numbers): string {
  const has = (label: string): boolean =>
    report.measures.some(({ costs }) => costs.some((cost) => cost.label === label));
  const start = "To choose on this machine:";
  if (!has("qcow2 metadata")) return `${start} qcow2 with preallocation=metadata was not measured.`;
  if (report.rounds < leastRounds) {
    return `${start} nothing can be recommended from so few rounds.`;
  }
  const metadata = verdictOf(report, "qcow2 metadata");
  if (metadata.better.length === 0) {
    return (
      `${start} qcow2 without preallocation. With preallocation=metadata no kind of work was faster by a ` +
      `difference that can be measured, and creating the image takes longer.`
    );
  }
  const gains = Math.max(...metadata.better.map(({ comparison }) => comparison.ratio));
  const cost =
    metadata.worse.length === 0
      ? "nothing was slower"
      : `${metadata.worse.length} of ${report.workloads.length * report.measures.length} kinds of work were slower`;
  return (
    `${start} qcow2 with preallocation=metadata. ${metadata.better.length} of ` +
    `${report.workloads.length * report.measures.length} kinds of work were faster, up to ${gains.toFixed(1)} times, ` +
    `${cost}, and it takes little more space than without. falloc and full reserve all of the space: choose them to be ` +
    `sure of it, ${fullWords(report)}.`
  );
}

function fullWords(report: Numbers): string {
  const gained = ["qcow2 falloc", "qcow2 full"].filter(
    (label) => verdictOf(report, label).better.length > 0,
  );
  return gained.length === 0
    ? "not to be faster"
    : `and beside no preallocation ${gained.join(" and ")} ${gained.length === 1 ? "is" : "are"} faster, too`;
}
