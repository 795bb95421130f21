import type { Summary } from "./statistics.ts";

/** Text that may stand in HTML and SVG. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A bar of a chart: the median, with whiskers at the quartiles. */
export interface Bar {
  readonly label: string;
  readonly summary: Summary;
  /** CSS class that colours it. */
  readonly look: string;
}

const width = 640;
const labelWidth = 120;
const valueWidth = 96;
const rowHeight = 26;
const plotWidth = width - labelWidth - valueWidth;

/**
 * Horizontal bars from zero to the largest quartile, as SVG. `format` writes a value for people;
 * `title` is read out by screen readers.
 */
export function barChart(
  title: string,
  bars: readonly Bar[],
  format: (value: number) => string,
): string {
  const top = Math.max(...bars.map(({ summary }) => summary.upperQuartile), Number.MIN_VALUE);
  const x = (value: number): number => labelWidth + (value / top) * plotWidth;
  const rows = bars.map(({ label, summary, look }, row) => {
    const y = row * rowHeight;
    const middle = y + rowHeight / 2;
    const { median, lowerQuartile, upperQuartile } = summary;
    const end = x(median);
    const tip = `${label}: median ${format(median)}, quartiles ${format(lowerQuartile)} to ${format(upperQuartile)}, all ${format(summary.minimum)} to ${format(summary.maximum)}`;
    return `<g><title>${escapeHtml(tip)}</title>
<text class="label" x="${labelWidth - 8}" y="${middle}">${escapeHtml(label)}</text>
<rect class="bar ${look}" x="${labelWidth}" y="${y + 5}" width="${fixed(Math.max(1, end - labelWidth))}" height="${rowHeight - 10}" rx="2"/>
<path class="whisker" d="M${fixed(x(lowerQuartile))} ${middle}H${fixed(x(upperQuartile))}M${fixed(x(lowerQuartile))} ${middle - 4}v8M${fixed(x(upperQuartile))} ${middle - 4}v8"/>
<text class="value" x="${fixed(Math.max(end, x(upperQuartile)) + 8)}" y="${middle}">${escapeHtml(format(median))}</text></g>`;
  });
  const height = bars.length * rowHeight;
  return `<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">
${rows.join("\n")}
</svg>`;
}

/** Equal cells side by side, each with the CSS class of what it shows. */
export function stripChart(title: string, looks: readonly string[]): string {
  const cells: string[] = [];
  for (let start = 0; start < looks.length;) {
    let end = start + 1;
    while (end < looks.length && looks[end] === looks[start]) end++;
    cells.push(`<rect class="${looks[start]}" x="${start}" width="${end - start}" height="1"/>`);
    start = end;
  }
  return `<svg class="strip" viewBox="0 0 ${Math.max(1, looks.length)} 1" preserveAspectRatio="none" role="img" aria-label="${escapeHtml(title)}">${cells.join("")}</svg>`;
}

const fixed = (value: number): string => String(Number(value.toFixed(1)));

/** A line of a chart of growth. */
export interface GrowthLine {
  readonly label: string;
  /** CSS class that colours it. */
  readonly look: string;
  /** Seconds, and what had been reached by then. */
  readonly points: ReadonlyArray<{ readonly x: number; readonly y: number }>;
}

const growthHeight = 260;
const legendWidth = 150;

/** Lines over seconds, each staying where it is until its next point, as SVG. */
export function growthChart(
  title: string,
  lines: readonly GrowthLine[],
  format: (value: number) => string,
): string {
  const all = lines.flatMap(({ points }) => points);
  const end = Math.max(1, ...all.map(({ x }) => x));
  const top = Math.max(1, ...all.map(({ y }) => y));
  const left = 70;
  const right = width - legendWidth;
  const x = (value: number): string => fixed(left + (value / end) * (right - left));
  const y = (value: number): string =>
    fixed(growthHeight - 24 - (value / top) * (growthHeight - 40));
  const drawn = lines.map(({ label, look, points }, row) => {
    const path = points
      .map((point, i) =>
        i === 0 ? `M${x(point.x)} ${y(point.y)}` : `H${x(point.x)}V${y(point.y)}`,
      )
      .join("");
    const at = 12 + row * 20;
    return `<g><title>${escapeHtml(label)}</title><path class="line ${look}" d="${path}H${x(end)}"/>
<rect class="${look}" x="${right + 14}" y="${at - 5}" width="10" height="10" rx="2"/><text x="${right + 30}" y="${at}">${escapeHtml(label)}</text></g>`;
  });
  return `<svg class="chart" viewBox="0 0 ${width} ${growthHeight}" role="img" aria-label="${escapeHtml(title)}">
<path class="whisker" d="M${left} ${y(top)}V${y(0)}H${right}"/>
<text class="label" x="${left - 6}" y="${y(top)}">${escapeHtml(format(top))}</text><text class="label" x="${left - 6}" y="${y(0)}">0</text>
<text class="label" x="${right}" y="${growthHeight - 8}">${end.toFixed(0)} s</text>
${drawn.join("\n")}
</svg>`;
}
