/** What the numbers from a guest say, and what to choose. */
import { formatSize } from "../bytes/index.ts";
import { factor, lowerFirst, milliseconds } from "./conclusions.ts";
import { guestCandidates } from "./guest-candidates.ts";
import type { GuestWorkload } from "./guest-job.ts";
import {
  comparePair,
  type GuestComparison,
  type GuestCost,
  type GuestReport,
  type Recommendation,
} from "./guest-report.ts";
import type { GuestCache } from "./guest-run.ts";
import { leastRounds } from "./statistics.ts";

/** What conclusions are drawn from. */
export type GuestFindings = Pick<GuestReport, "comparisons" | "costs" | "rounds" | "size">;

/**
 * Which kind of qcow2 image to make on this machine for a guest that writes to a new disk: the cheapest, unless a
 * dearer one is surely faster than that one itself, on more kinds of first writes than it is slower. That both are
 * compared with a third would not do: of two that are as fast, one may be surely faster than the third and the
 * other not.
 */
export function recommend(findings: GuestFindings): Recommendation {
  const { costs, size } = findings;
  const [cheapest, ...dearer] = costs.filter(isRival).toSorted(dearness);
  if (cheapest === undefined) return { label: undefined, text: "no qcow2 disk was measured." };
  let choice = cheapest;
  let reasons: readonly GuestComparison[] = [];
  for (const rival of dearer) {
    const pairs = compareFirstWrites(findings, choice.label, rival.label);
    const gains = pairs.filter(({ comparison }) => comparison.verdict === "faster");
    const losses = pairs.filter(({ comparison }) => comparison.verdict === "slower");
    if (gains.length > losses.length) [choice, reasons] = [rival, gains];
  }
  const least = roundsOf(findings);
  const few =
    least < leastRounds ? ` Only ${least} rounds were made: take ${leastRounds} or more.` : "";
  const takes = `It takes ${formatSize(choice.empty)} at once, and ${milliseconds(choice.creation.median)} to make`;
  if (choice === cheapest) {
    return {
      label: undefined,
      text: `${choice.label}: no difference that can be measured speaks for one that takes more space. ${takes}.${few}`,
    };
  }
  const [{ baseline }] = reasons as readonly [GuestComparison];
  const told = reasons.map((pair) => `${wordsFor(pair, size.workloads)} ${factor(pair)}`);
  return {
    label: choice.label,
    text: `${choice.label}: compared with ${baseline}, ${told.join("; ")}. ${takes}; none that takes more space was measurably faster than it.`,
  };
}

/** Whether it is a qcow2 disk that stands alone. */
function isRival({ label }: GuestCost): boolean {
  const candidate = guestCandidates.find((each) => each.label === label);
  return candidate?.format === "qcow2" && !candidate.isOverlay;
}

function compareFirstWrites(
  { rounds, size }: GuestFindings,
  baseline: string,
  label: string,
): GuestComparison[] {
  const caches = [...new Set(rounds.map(({ cache }) => cache))];
  const firsts = size.workloads.filter(({ isFirst }) => isFirst);
  return caches.flatMap((cache) =>
    firsts.map(({ id }) => comparePair(rounds, { cache, workload: id, baseline, label })),
  );
}

/** Orders by what it takes at once. */
function dearness(a: GuestCost, b: GuestCost): number {
  return a.empty - b.empty || a.creation.median - b.creation.median;
}

/** "cache=none, first write …". */
function wordsFor(
  { cache, workload }: GuestComparison,
  workloads: readonly GuestWorkload[],
): string {
  const label = workloads.find(({ id }) => id === workload)?.label ?? workload;
  return `${lowerFirst(label)} (cache=${cache})`;
}

/** The fewest rounds of any cache mode. */
function roundsOf({ rounds }: Pick<GuestFindings, "rounds">): number {
  const counts = new Map<GuestCache, number>();
  for (const { cache } of rounds) counts.set(cache, (counts.get(cache) ?? 0) + 1);
  return Math.min(...counts.values());
}

/** What the numbers say, a sentence each. */
export function concludeGuest(findings: GuestFindings, recommendation: Recommendation): string[] {
  const { comparisons, size } = findings;
  const rounds = roundsOf(findings);
  const caches = [...new Set(comparisons.map(({ cache }) => cache))];
  const pieces = caches.flatMap((cache) =>
    size.workloads.map((kind) => {
      const own = comparisons.filter((pair) => pair.cache === cache && pair.workload === kind.id);
      return `${kind.label}, cache=${cache}: ${differences(own)}`;
    }),
  );
  const few = `Only ${rounds} rounds: too few to be sure of any difference; take ${leastRounds} or more.`;
  return [
    ...(rounds < leastRounds ? [few] : []),
    `To choose for a new disk: ${recommendation.text}`,
    aboutChance(comparisons),
    ...pieces,
    aboutCosts(findings),
  ];
}

function differences(pairs: readonly GuestComparison[]): string {
  const sure = pairs.filter(({ comparison }) => comparison.verdict !== "same");
  if (sure.length === 0) return "no difference that can be measured.";
  const told = sure.map(
    (pair) => `${pair.label} is ${factor(pair)} compared with ${pair.baseline}`,
  );
  return `${told.join("; ")}.`;
}

/** So many comparisons are not all right. */
function aboutChance(comparisons: readonly GuestComparison[]): string {
  const sure = comparisons.filter(({ comparison }) => comparison.verdict !== "same").length;
  const chance = Math.max(1, Math.round(comparisons.length / 100));
  return `How sure that is: each of ${comparisons.length} comparisons is sure by 99 %, so about ${chance} would come out by chance where there is no difference at all; ${sure} did. Believe a single one when it comes again in another run.`;
}

function aboutCosts({ costs, size }: GuestFindings): string {
  const told = costs.map(
    ({ label, empty, written, creation }) =>
      `${label} ${formatSize(empty)} and ${milliseconds(creation.median)}, then ${formatSize(written)}`,
  );
  return `What each takes on the host when it is new, to be made, and after a round on a disk of ${formatSize(size.disk)}: ${told.join("; ")}.`;
}
