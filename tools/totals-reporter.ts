import { writeSync } from "node:fs";
import type { Reporter, TestModule } from "vitest/node";

/** How many tests ended how. */
export interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Counts tests. A file that cannot be loaded, a suite whose hook failed and an error outside of any
 * test each count as a failure, so that the line never looks better than the run was.
 */
export function countTests(
  modules: Iterable<Pick<TestModule, "children" | "errors">>,
  unhandled: number,
): Totals {
  const totals = { passed: 0, failed: unhandled, skipped: 0 };
  for (const module of modules) {
    totals.failed += module.errors().length;
    for (const suite of module.children.allSuites()) totals.failed += suite.errors().length;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === "passed") totals.passed++;
      else if (state === "skipped") totals.skipped++;
      else totals.failed++;
    }
  }
  return totals;
}

/** The line that ends the output: `12 passed, 0 failed, 3 skipped`. */
export function totalsLine({ passed, failed, skipped }: Totals): string {
  const line = `${passed} passed, ${failed} failed`;
  return skipped === 0 ? line : `${line}, ${skipped} skipped`;
}

/**
 * Ends vitest's output with one plain line of totals, for people and programs. Before it stand the
 * notes, on what this run left out.
 */
export class TotalsReporter implements Reporter {
  readonly #notes: readonly string[];

  constructor(notes: readonly string[] = []) {
    this.#notes = notes;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const lines = [...this.#notes, totalsLine(countTests(modules, unhandledErrors.length))];
    // Not now: other reporters have something to say yet, and the line has to be the last.
    process.once("exit", () => writeSync(process.stdout.fd, `\n${lines.join("\n")}\n`));
  }
}
