import type { Summary } from "./statistics.ts";

/** Text that may stand in HTML and SVG. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** The words up to the colon are what a conclusion is about. */
export function emphasized(line: string): string {
  const end = line.indexOf(": ");
  if (end < 0) return escapeHtml(line);
  return `<b>${escapeHtml(line.slice(0, end + 1))}</b>${escapeHtml(line.slice(end + 1))}`;
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

/** A line of a chart. */
export interface Line {
  readonly label: string;
  /** CSS class that colours it. */
  readonly look: string;
  readonly points: ReadonlyArray<{ readonly x: number; readonly y: number }>;
}

const lineHeight = 240;

/** Lines from zero, each with its label at the right, as SVG; labels that would overlap are moved apart. */
export function lineChart(
  title: string,
  lines: readonly Line[],
  format: { readonly x: (value: number) => string; readonly y: (value: number) => string },
): string {
  const points = lines.flatMap((line) => line.points);
  const right = Math.max(...points.map(({ x }) => x), 1);
  const top = Math.max(...points.map(({ y }) => y), 1);
  const left = 64;
  const plot = width - left - labelWidth;
  const x = (value: number): string => fixed(left + (value / right) * plot);
  const y = (value: number): number => 10 + (1 - value / top) * (lineHeight - 40);
  const drawn = lines.filter((line) => line.points.length > 0);
  const ends = drawn
    .map((line) => ({ line, at: y(line.points.at(-1)!.y) }))
    .toSorted((a, b) => b.at - a.at);
  let lowest = lineHeight - 12;
  const labels = ends.map(({ line, at }) => {
    const place = Math.min(at, lowest);
    lowest = place - 14;
    return `<text x="${left + plot + 8}" y="${fixed(place)}">${escapeHtml(line.label)}</text>`;
  });
  const paths = drawn.map(({ label, look, points: own }) => {
    const path = own.map((point) => `${x(point.x)} ${fixed(y(point.y))}`).join("L");
    return `<path class="line ${look}" d="M${path}"><title>${escapeHtml(label)}</title></path>`;
  });
  const axes = `<path class="axis" d="M${left} 10V${lineHeight - 30}H${left + plot}"/>
<text class="label" x="${left - 6}" y="10">${escapeHtml(format.y(top))}</text><text class="label" x="${left - 6}" y="${lineHeight - 30}">0</text>
<text class="label" x="${left + plot}" y="${lineHeight - 16}">${escapeHtml(format.x(right))}</text>`;
  return `<svg class="chart" viewBox="0 0 ${width} ${lineHeight}" role="img" aria-label="${escapeHtml(title)}">
${axes}
${paths.join("\n")}
${labels.join("\n")}
</svg>`;
}

const fixed = (value: number): string => String(Number(value.toFixed(1)));
