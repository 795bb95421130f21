/** What is said of a number that was measured several times. */
export interface Summary {
  readonly median: number;
  /** Half of the values lie between these two. */
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  readonly minimum: number;
  readonly maximum: number;
}

/** The value below which a share of the values lies, between neighbours in proportion. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError("quantile of nothing");
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const below = Math.floor(at);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (at - below);
}

/** The middle of the values. */
export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Median, quartiles and ends of at least one value. */
export function summarize(values: readonly number[]): Summary {
  return {
    median: median(values),
    lowerQuartile: quantile(values, 0.25),
    upperQuartile: quantile(values, 0.75),
    minimum: Math.min(...values),
    maximum: Math.max(...values),
  };
}

/** How two series of times compare. */
export interface Comparison {
  /** Median of the ratios first ÷ second, round by round; above 1 the second is faster. */
  readonly ratio: number;
  /** With 99 % confidence, the ratio lies between these two. */
  readonly low: number;
  readonly high: number;
  readonly verdict: "faster" | "slower" | "same";
}

const resamples = 10_000;
/** Some dozens of pairs are compared at once, so that each has to be surer than the usual 5 %. */
const unsure = 0.01;
/** Differences smaller than this are not worth a word, however sure they are. */
const leastDifference = 0.1;

/** Fewer rounds than this say nothing surely, even if all agree. */
export const leastRounds = 8;

/**
 * Compares two series that were measured in the same rounds: whether `second` takes less time than
 * `first`. Ratios are taken round by round, because what slows a machine down slows both; the
 * interval comes from drawing the rounds again (bootstrap), the same for the same numbers. A difference
 * is sure when the interval says so and the rounds agree on its direction (sign test).
 */
export function compareTimes(first: readonly number[], second: readonly number[]): Comparison {
  const ratios = first.map((time, round) => time / second[round]!);
  const next = randomFrom(ratios.length);
  const medians: number[] = [];
  for (let i = 0; i < resamples; i++) {
    medians.push(median(ratios.map(() => ratios[next()]!)));
  }
  const low = quantile(medians, unsure / 2);
  const high = quantile(medians, 1 - unsure / 2);
  const ratio = median(ratios);
  const isSure = (low > 1 || high < 1) && chanceOfAgreement(ratios) <= unsure;
  const isWorthAWord = Math.abs(ratio - 1) >= leastDifference;
  const verdict = !isSure || !isWorthAWord ? "same" : ratio > 1 ? "faster" : "slower";
  return { ratio, low, high, verdict };
}

/** How likely it is that so many rounds agree, one way or the other, where there is no difference. */
function chanceOfAgreement(ratios: readonly number[]): number {
  const above = ratios.filter((ratio) => ratio > 1).length;
  const below = ratios.filter((ratio) => ratio < 1).length;
  const rounds = above + below;
  let ways = 1;
  let sum = 0;
  for (let others = 0; others <= Math.min(above, below); others++) {
    sum += ways;
    ways = (ways * (rounds - others)) / (others + 1);
  }
  return Math.min(1, (2 * sum) / 2 ** rounds);
}

/** Numbers below `limit` that look random and are always the same. */
export function randomFrom(limit: number, seed = 1): () => number {
  let state = seed;
  return () => {
    // A linear congruential generator; its upper bits are the better ones.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
