import { describe, expect, it } from "vitest";
import type { TestModule } from "vitest/node";
import { countTests, totalsLine } from "./totals-reporter.ts";

/** As much of a test module as counting looks at. */
function module(states: readonly string[], errors = 0, suiteErrors = 0): TestModule {
  return {
    errors: () => Array.from({ length: errors }),
    children: {
      allTests: () => states.map((state) => ({ result: () => ({ state }) })),
      allSuites: () => [{ errors: () => Array.from({ length: suiteErrors }) }],
    },
  } as unknown as TestModule;
}

describe("totals", () => {
  it("adds up the files", () => {
    expect(countTests([module(["passed", "failed"]), module(["passed", "skipped"])], 0)).toEqual({
      passed: 2,
      failed: 1,
      skipped: 1,
    });
  });

  it("counts what fails outside of a test, and what never ended", () => {
    expect(countTests([module(["passed", "pending"], 1, 1)], 1)).toEqual({
      passed: 1,
      failed: 4,
      skipped: 0,
    });
  });

  it("speaks of skipped tests only where there are some", () => {
    expect(totalsLine({ passed: 2, failed: 0, skipped: 0 })).toBe("2 passed, 0 failed");
    expect(totalsLine({ passed: 2, failed: 1, skipped: 3 })).toBe("2 passed, 1 failed, 3 skipped");
  });
});
