/** A run in words. */
import type { Result } from "./fuzz.ts";

/** What was run, how far it reached, and what was found. */
export function summary(result: Result, seed: number): string {
  const { executions, skipped, seconds, compared, outcomes, reached, coverage, findings } = result;
  const perSecond = seconds > 0 ? `, ${(executions / seconds).toFixed(1)} per second` : "";
  const pairs = [...reached].filter((what) => what.includes(" × ")).length;
  const lines = [
    `seed ${seed}: ${executions} executions${perSecond}, ${skipped} skipped`,
    `compared with qemu-img: ${counts(compared)}`,
    `reached: ${reached.size - pairs} endings, ${pairs} of field × command × outcome`,
    `outcomes: ${counts(outcomes)}`,
  ];
  let [ran, total] = [0, 0];
  const files: string[] = [];
  for (const [file, { lines: seen, total: all }] of [...coverage].toSorted(([a], [b]) =>
    a < b ? -1 : 1,
  )) {
    ran += seen.size;
    total += all;
    files.push(`  ${percent(seen.size, all)} ${file}`);
  }
  lines.push(
    `lines run of src/formats: ${ran} of ${total}, ${percent(ran, total).trim()}`,
    ...files,
  );
  lines.push(`findings: ${findings.size}`);
  for (const { property, command, message, count, case: one } of findings.values()) {
    lines.push(
      `- ${property}: ${command}: ${message} (${count} times)`,
      `  ${JSON.stringify(one)}`,
    );
  }
  return lines.join("\n");
}

const percent = (part: number, all: number): string =>
  `${((100 * part) / Math.max(1, all)).toFixed(0).padStart(3)} %`;

const counts = (map: ReadonlyMap<string, number>): string =>
  [...map]
    .toSorted(([, a], [, b]) => b - a)
    .map(([what, count]) => `${what} ${count}`)
    .join(", ");
