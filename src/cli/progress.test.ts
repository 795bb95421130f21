import { describe, expect, it } from "vitest";
import type { Output } from "./environment.ts";
import {
  barLine,
  barProgress,
  formatDuration,
  jsonProgress,
  PATIENCE,
  qemuProgress,
} from "./progress.ts";

class Recorder implements Output {
  text = "";
  readonly isTerminal = true;
  readonly columns = 80;
  readonly closed = false;
  write(text: string): void {
    this.text += text;
  }
  async drained(): Promise<void> {}
}

describe("qemuProgress", () => {
  const start = (enabled: boolean, step: number, eager: boolean) => {
    const stdout = new Recorder();
    const stderr = new Recorder();
    const display = qemuProgress({ stdout, stderr, enabled, step, eager });
    return { stdout, stderr, display };
  };

  it("prints as convert does", () => {
    const { stdout, display } = start(true, 1, true);
    for (const done of [0, 20, 21, 22, 30]) display.update({ done, total: 30 });
    display.finish();
    display.end();
    expect(stdout.text).toBe(
      "    (0.00/100%)\r    (66.67/100%)\r    (70.00/100%)\r    (73.33/100%)\r" +
        "    (100.00/100%)\r    (100.00/100%)\r\n",
    );
  });

  it("skips small steps and does not repeat the end for compare", () => {
    const { stdout, display } = start(true, 2, false);
    for (const done of [1, 2, 3, 4, 5, 100]) display.update({ done, total: 100 });
    display.finish();
    display.end();
    expect(stdout.text).toBe("    (0.00/100%)\r    (3.00/100%)\r    (100.00/100%)\r\n");
  });

  it("ends the line after a failure", () => {
    const { stdout, display } = start(true, 1, true);
    display.end();
    expect(stdout.text).toBe("    (0.00/100%)\r\n");
  });

  it("answers only when asked if it is not enabled", () => {
    const { stdout, stderr, display } = start(false, 1, true);
    display.update({ done: 1, total: 3 });
    display.ask();
    display.finish();
    display.end();
    expect(stdout.text).toBe("");
    expect(stderr.text).toBe("    (33.33/100%)\n");
  });
});

describe("jsonProgress", () => {
  it("writes objects that can be parsed, not too often, and an end", () => {
    let time = 0;
    const stderr = new Recorder();
    const display = jsonProgress(stderr, () => time);
    display.update({ done: 0, total: 1000 });
    time = 50;
    display.update({ done: 100, total: 1000 });
    time = 500;
    display.update({ done: 500, total: 1000 });
    display.finish();
    expect(
      stderr.text
        .trimEnd()
        .split("\n")
        .map((line): unknown => JSON.parse(line)),
    ).toEqual([
      { event: "progress", done: 0, total: 1000, bytesPerSecond: 0 },
      { event: "progress", done: 500, total: 1000, bytesPerSecond: 1000, secondsLeft: 1 },
      { event: "done", done: 1000, total: 1000, bytesPerSecond: 2000, secondsLeft: 0 },
    ]);
  });
});

describe("the bar", () => {
  it("shows nothing for short work and cleans up after long work", () => {
    let time = 0;
    const stderr = new Recorder();
    const display = barProgress(stderr, () => time, PATIENCE);
    display.update({ done: 1, total: 2 });
    expect(stderr.text).toBe("");
    time = 1500;
    display.update({ done: 1, total: 2 });
    expect(stderr.text).toContain("50%");
    display.end();
    expect(stderr.text.endsWith("\r\x1b[K")).toBe(true);
  });

  it("answers when asked even if it never appears", () => {
    let time = 0;
    const stderr = new Recorder();
    const display = barProgress(stderr, () => time, Infinity);
    time = 100_000;
    display.update({ done: 2 ** 20, total: 2 ** 21 });
    expect(stderr.text).toBe("");
    display.ask();
    expect(stderr.text).toBe(" 50%  1 MiB of 2 MiB  10.2 KiB/s  1:40 left\n");
    display.end();
    expect(stderr.text.endsWith("left\n")).toBe(true);
  });

  it("fits the terminal", () => {
    const progress = { done: 2 ** 30, total: 3 * 2 ** 30 };
    for (const columns of [10, 40, 60, 80, 200]) {
      expect(barLine(progress, 2000, columns).length).toBeLessThan(columns);
    }
    expect(barLine(progress, 2000, 200)).toBe(
      `[${"=".repeat(12)}>${" ".repeat(27)}]  33%  1 GiB of 3 GiB  512 MiB/s  0:04 left`,
    );
  });

  it("writes durations", () => {
    expect([0, 6.2, 60, 754, 3723].map(formatDuration)).toEqual([
      "0:00",
      "0:07",
      "1:00",
      "12:34",
      "1:02:03",
    ]);
  });
});

describe("a step that is no copying", () => {
  it("is named in place of sizes", () => {
    const line = barLine({ done: 333, total: 1000, step: "measuring" }, 1000, 80);
    expect(line).toContain("33%  measuring  0:03 left");
    expect(line).not.toMatch(/\/s|of/);
  });
});
