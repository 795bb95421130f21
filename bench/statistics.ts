/** Medians and how far the rounds lie apart. */

/** The value in the middle; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Ratios of two programs that ran in turn: the median, the smallest and the largest of the rounds. */
export interface Ratio {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** How many times as long `theirs` took as `ours`: of the medians, and round by round. */
export function ratio(theirs: readonly number[], ours: readonly number[]): Ratio {
  const rounds = ours.map((value, i) => theirs[i]! / value);
  return {
    median: median(theirs) / median(ours),
    least: Math.min(...rounds),
    most: Math.max(...rounds),
  };
}
