/** Which parts of the formats' sources have been run, by the engine's own counters. */
import { readFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { fileURLToPath } from "node:url";

/** Sources whose coverage is told: everything that reads what a stranger may have written. */
const watched = /\/src\/formats\/(?!.*\.test).*\.ts$/;

/** Lines of code of a source that have been run, and all. */
export interface FileCoverage {
  readonly lines: readonly number[];
  readonly total: number;
}

/** Starts counting; the function returned tells what has been run so far, by file. */
export async function startCoverage(): Promise<() => Promise<Record<string, FileCoverage>>> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: false, detailed: true });
  const seen = new Map<string, Set<number>>();
  return async () => {
    const { result } = await session.post("Profiler.takePreciseCoverage");
    const report: Record<string, FileCoverage> = {};
    for (const { url, functions } of result) {
      if (!watched.test(url)) continue;
      const text = readFileSync(fileURLToPath(url), "utf8");
      const ran = new Uint8Array(text.length);
      // Inner ranges come after the ones around them.
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
        }
      }
      const lines = seen.get(url) ?? new Set();
      seen.set(url, lines);
      let at = 0;
      let total = 0;
      for (const [number, line] of text.split("\n").entries()) {
        const start = at + line.search(/\S/);
        if (isCode(line)) {
          total++;
          if (ran[start] === 1) lines.add(number + 1);
        }
        at += line.length + 1;
      }
      report[url.replace(/^.*\/src\//, "src/")] = { lines: [...lines], total };
    }
    return report;
  };
}

const isCode = (line: string): boolean => /[a-zA-Z]/.test(line) && !/^\s*(\/\*|\*|\/\/)/.test(line);

/** Adds what one process has run to what others have. */
export function addCoverage(
  all: Map<string, { lines: Set<number>; total: number }>,
  more: Readonly<Record<string, FileCoverage>>,
): void {
  for (const [file, { lines, total }] of Object.entries(more)) {
    const before = all.get(file) ?? { lines: new Set<number>(), total };
    for (const line of lines) before.lines.add(line);
    all.set(file, before);
  }
}
