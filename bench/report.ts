/** What came of the cells, as a table, as JSON and as a picture. */
import type { Ratio } from "./statistics.ts";

/** The outcome of a cell. Seconds are medians. */
export interface Outcome {
  readonly name: string;
  readonly what: string;
  readonly atLeast: number;
  readonly aim: number;
  readonly seconds: number;
  /** Against the peer with its best flags. */
  readonly best: Ratio & { readonly seconds: number; readonly command: string };
  /** Against the peer as people call it. */
  readonly plain: Ratio & { readonly seconds: number };
  /** Seconds of the program that does no more than the kernel has to. */
  readonly limit?: number;
  /**
   * Processor time in seconds, of all threads of the whole process. Other people's work hardly
   * changes it.
   */
  readonly processor: { readonly ours: number; readonly theirs: number };
  /** Peak memory in bytes. */
  readonly memory: { readonly ours: number; readonly theirs: number };
  /** Bytes of the image that was made. */
  readonly size?: { readonly ours: number; readonly theirs: number };
}

/** A cell that came to nothing: a command that failed, or a result that is not right. */
export interface Failure {
  readonly name: string;
  readonly reason: string;
}

/** On what the cells ran. */
export interface Machine {
  readonly kernel: string;
  readonly filesystem: string;
  readonly processor: string;
  readonly processors: number;
  /** Bytes of memory. */
  readonly memory: number;
  /** Processes that wanted to run in the last minute: more than ours means that others were at work. */
  readonly load: number;
  readonly platter: string;
  readonly node: string;
  readonly qemu: string;
  readonly rounds: number;
  readonly scale: string;
  readonly command: string;
}

const two = (value: number): string => value.toFixed(2);
const mega = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`;

/** No conversion may take more memory, in bytes. */
const memoryLimit = 256 * 2 ** 20;

/** A table for terminals and Markdown. What falls short has an exclamation mark. */
export function table(outcomes: readonly Outcome[], failures: readonly Failure[] = []): string {
  const head = [
    "cell",
    "ours",
    "peer at its best",
    "times as fast",
    "rounds",
    "wanted",
    "as called",
    "cp",
    "processor",
    "memory",
  ];
  const rows = outcomes.map((outcome) => {
    const { best, plain, limit, memory, processor } = outcome;
    return [
      outcome.name,
      `${two(outcome.seconds)} s`,
      `${two(best.seconds)} s`,
      `${two(best.median)}${best.median < outcome.atLeast ? " !" : ""}`,
      `${two(best.least)}–${two(best.most)}`,
      two(outcome.atLeast),
      two(plain.median),
      limit === undefined ? "" : `${two(limit)} s`,
      `${two(processor.ours)}, ${two(processor.theirs)} s`,
      `${mega(memory.ours)}${memory.ours > memoryLimit ? " !" : ""}, ${mega(memory.theirs)}`,
    ];
  });
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join(" | ")} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |`;
  const failed = failures.map(({ name, reason }) => `${name} FAILED: ${reason}`);
  return [line(head), rule, ...rows.map(line), ...failed].join("\n");
}

const row = { height: 26, label: 150, width: 560, top: 34 } as const;

/** Bars of how many times as fast as the peer at its best we are, on a logarithmic scale. */
export function picture(outcomes: readonly Outcome[], { rounds, processors }: Machine): string {
  const most = Math.max(4, ...outcomes.map(({ best }) => best.median));
  const least = Math.min(0.25, ...outcomes.map(({ best }) => best.median));
  const x = (value: number): number =>
    row.label +
    ((Math.log(value) - Math.log(least)) / (Math.log(most) - Math.log(least))) *
      (row.width - row.label - 60);
  const height = row.top + outcomes.length * row.height + 20;
  const lines = [0.25, 0.5, 1, 2, 4, 8]
    .filter((value) => value >= least && value <= most)
    .map(
      (value) =>
        `<line x1="${x(value).toFixed(1)}" x2="${x(value).toFixed(1)}" y1="${row.top - 8}" y2="${height - 16}" class="${value === 1 ? "one" : "grid"}"/>` +
        `<text x="${x(value).toFixed(1)}" y="${row.top - 14}" text-anchor="middle">${value}×</text>`,
    );
  const bars = outcomes.map(({ name, best, atLeast }, i) => {
    const y = row.top + i * row.height;
    const from = Math.min(x(1), x(best.median));
    const width = Math.abs(x(best.median) - x(1));
    const kind = best.median >= atLeast ? "reached" : "missed";
    return (
      `<text x="${row.label - 8}" y="${y + 14}" text-anchor="end">${name}</text>` +
      `<rect x="${from.toFixed(1)}" y="${y + 3}" width="${width.toFixed(1)}" height="15" rx="2" class="${kind}"/>` +
      `<text x="${(Math.max(x(1), x(best.median)) + 6).toFixed(1)}" y="${y + 14}">${two(best.median)}</text>`
    );
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${row.width} ${height}" role="img" aria-label="How many times as fast as qemu-img">
<style>
text { font: 12px system-ui, sans-serif; fill: #57606a }
.grid { stroke: #8c959f; stroke-opacity: .3 } .one { stroke: #8c959f }
.reached { fill: #2da44e } .missed { fill: #bf8700 }
@media (prefers-color-scheme: dark) { text { fill: #9198a1 } }
</style>
${lines.join("\n")}
${bars.join("\n")}
<text x="${row.label}" y="${height - 2}">times as fast as qemu-img with its best flags; medians of ${rounds} rounds, ${processors} processors</text>
</svg>
`;
}
