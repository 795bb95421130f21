import type { Progress } from "./contract.ts";
import type { Output } from "./environment.ts";
import { formatSize } from "./contract.ts";
import { jsonLine } from "./json.ts";
import { twoDecimals } from "./numbers.ts";

/** Shows how far an operation has come. */
export interface ProgressDisplay {
  readonly update: (progress: Progress) => void;
  /** The operation is complete. */
  readonly finish: () => void;
  /** The operation has ended, well or not; nothing is shown after that. */
  readonly end: () => void;
  /** The user asks how far it is (SIGUSR1). */
  readonly ask: () => void;
}

/** The percentage as qemu-img prints it. */
function qemuPercent(percent: number): string {
  return `    (${twoDecimals(percent)}/100%)`;
}

/** qemu-img's progress: on stdout with `-p`, otherwise only when asked, on stderr. */
export function qemuProgress(options: {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly enabled: boolean;
  /** Percentage points between two prints. */
  readonly step: number;
  /** Print the start at once, and the end twice, as `convert` does. */
  readonly eager: boolean;
  /** Print the end once more if it has been reached before, as `amend` does. */
  readonly again?: boolean;
}): ProgressDisplay {
  const { stdout, stderr, enabled, step, eager, again = false } = options;
  let started = false;
  let current = 0;
  let printed = 0;
  const print = (): void => {
    printed = current;
    if (enabled) stdout.write(`${qemuPercent(current)}\r`);
  };
  const start = (): void => {
    if (!started) print();
    started = true;
  };
  const move = (percent: number): void => {
    start();
    // QEMU counts in single precision.
    const next = Math.fround(Math.min(percent, 100));
    if (next === current) return;
    current = next;
    const moved = current > printed + step || current < printed - step;
    if (moved || current === 100 || current === 0) print();
  };
  if (eager) start();
  return {
    update: ({ done, total }) => move(total === 0 ? 100 : (100 * done) / total),
    finish: () => {
      if (current !== 100) move(100);
      else if (again) print();
      if (eager) print();
    },
    end: () => {
      if (enabled) stdout.write("\n");
    },
    ask: () => {
      if (!enabled) stderr.write(`${qemuPercent(current)}\n`);
    },
  };
}

/** Milliseconds between two lines or redraws. */
const INTERVAL = 100;
/** Milliseconds of work that are not worth a bar. */
export const PATIENCE = 1000;

/** Rate and remaining time, from what has been done since the start. */
function pace(progress: Progress, elapsed: number): { rate: number; left: number | undefined } {
  const rate = elapsed > 0 ? (progress.done * 1000) / elapsed : 0;
  return { rate, left: rate > 0 ? (progress.total - progress.done) / rate : undefined };
}

/** One JSON object a line. */
export function jsonProgress(stderr: Output, now: () => number): ProgressDisplay {
  const start = now();
  let shown = -Infinity;
  let last: Progress = { done: 0, total: 0 };
  const print = (done = false): void => {
    shown = now();
    const { rate, left } = pace(last, shown - start);
    stderr.write(
      `${jsonLine({
        event: done ? "done" : "progress",
        done: last.done,
        total: last.total,
        step: last.step,
        bytesPerSecond: last.step === undefined ? Math.round(rate) : undefined,
        secondsLeft: left === undefined ? undefined : Math.round(left),
      })}\n`,
    );
  };
  return {
    update(progress) {
      last = progress;
      if (now() - shown >= INTERVAL) print();
    },
    finish() {
      last = { done: last.total, total: last.total };
      print(true);
    },
    end: () => {},
    ask: () => print(),
  };
}

/**
 * A bar on the terminal's last line, redrawn in place. It appears when the work has taken
 * `patience` milliseconds: with Infinity never, but it still answers when asked.
 */
export function barProgress(stderr: Output, now: () => number, patience: number): ProgressDisplay {
  const start = now();
  let shown = -Infinity;
  let drawn = false;
  let last: Progress = { done: 0, total: 0 };
  const draw = (): void => {
    shown = now();
    stderr.write(`\r\x1b[K${barLine(last, shown - start, stderr.columns)}`);
    drawn = true;
  };
  return {
    update(progress) {
      last = progress;
      const time = now();
      if (time - start >= patience && time - shown >= INTERVAL) draw();
    },
    finish: () => {},
    end: () => {
      if (drawn) stderr.write("\r\x1b[K");
    },
    ask: () => stderr.write(`${barLine(last, now() - start, 0)}\n`),
  };
}

/** "[=====>    ]  42%  1.2 GiB of 3 GiB  512 MiB/s  0:03 left", cut to the terminal's width. */
export function barLine(progress: Progress, elapsed: number, columns: number): string {
  const { done, total, step } = progress;
  const share = total === 0 ? 1 : Math.min(done / total, 1);
  const { rate, left } = pace(progress, elapsed);
  const parts = [`${Math.floor(share * 100)}%`.padStart(4)];
  if (step === undefined) {
    parts.push(`${formatSize(done)} of ${formatSize(total)}`, `${formatSize(Math.round(rate))}/s`);
  } else parts.push(step);
  if (left !== undefined && Number.isFinite(left)) parts.push(`${formatDuration(left)} left`);
  const text = parts.join("  ");
  const room = Math.min(columns - text.length - 4, 40);
  if (room < 5) return columns > 0 ? text.slice(0, columns - 1) : text;
  const filled = Math.floor(share * room);
  const head = filled < room && filled > 0 ? ">" : "";
  return `[${("=".repeat(Math.max(0, filled - head.length)) + head).padEnd(room)}] ${text}`;
}

/** Seconds as "0:07", "12:34" or "1:02:03". */
export function formatDuration(seconds: number): string {
  const whole = Math.ceil(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
