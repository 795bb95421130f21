/** What the numbers from a guest say, and what to choose. */
import { formatSize } from "../bytes/index.ts";
import { factor, lowerFirst, milliseconds } from "./conclusions.ts";
import { guestCandidates, PLAIN } from "./guest-candidates.ts";
import type { GuestWorkload } from "./guest-job.ts";
import type { GuestComparison, GuestCost, GuestReport, Recommendation } from "./guest-report.ts";
import type { GuestCache } from "./guest-run.ts";
import { leastRounds } from "./statistics.ts";

/** What conclusions are drawn from. */
export type GuestFindings = Pick<GuestReport, "comparisons" | "costs" | "rounds" | "size">;

/** A way that is slower than the best by no more than this share is as good. */
const AS_GOOD = 0.9;

/**
 * Which kind of qcow2 image to make on this machine for a guest that writes to a new disk: the cheapest of those
 * whose sure gains come near the best. Space comes first, then the time that making it takes.
 */
export function recommend(findings: GuestFindings): Recommendation {
  const { comparisons, costs, size } = findings;
  const rivals = costs.filter(({ label }) => {
    const candidate = guestCandidates.find((each) => each.label === label);
    return candidate?.format === "qcow2" && !candidate.isOverlay;
  });
  const firsts = size.workloads.filter(({ isFirst }) => isFirst).map(({ id }) => id);
  const scored = rivals.map((cost) => {
    const own = comparisons.filter(
      (pair) =>
        pair.baseline === PLAIN && pair.label === cost.label && firsts.includes(pair.workload),
    );
    return { cost, own, score: score(own) };
  });
  const best = Math.max(...scored.map((entry) => entry.score));
  const enough = scored.filter((entry) => entry.score >= best * AS_GOOD);
  const [choice] = enough.toSorted((a, b) => dearness(a.cost, b.cost));
  const least = roundsOf(findings);
  const few =
    least < leastRounds ? ` Only ${least} rounds were made: take ${leastRounds} or more.` : "";
  if (choice === undefined || choice.cost.label === PLAIN) {
    const why =
      best > 1
        ? "what others gain on first writes is not worth what they cost"
        : "no difference that can be measured speaks for another one";
    return {
      label: best > 1 ? PLAIN : undefined,
      text: `${PLAIN} (64 KiB clusters, nothing preallocated): ${why}, and it takes the least space and time to make.${few}`,
    };
  }
  const gains = choice.own
    .filter(({ comparison }) => comparison.verdict === "faster")
    .map((pair) => `${wordsFor(pair, size.workloads)} ${factor(pair)}`);
  return {
    label: choice.cost.label,
    text: `${choice.cost.label}: compared with ${PLAIN}, ${gains.join("; ")}. It takes ${formatSize(choice.cost.empty)} at once, and ${milliseconds(choice.cost.creation.median)} to make.`,
  };
}

/** How many times as fast, over all kinds; what is not sure counts as the same. */
function score(pairs: readonly GuestComparison[]): number {
  const logarithms = pairs.map(({ comparison }) =>
    comparison.verdict === "same" ? 0 : Math.log(comparison.ratio),
  );
  const sum = logarithms.reduce((total, value) => total + value, 0);
  return Math.exp(sum / Math.max(1, logarithms.length));
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

function aboutCosts({ costs, size }: GuestFindings): string {
  const told = costs.map(
    ({ label, empty, written, creation }) =>
      `${label} ${formatSize(empty)} and ${milliseconds(creation.median)}, then ${formatSize(written)}`,
  );
  return `What each takes on the host when it is new, to be made, and after a round on a disk of ${formatSize(size.disk)}: ${told.join("; ")}.`;
}
