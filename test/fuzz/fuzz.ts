/**
 * Fuzzing: children try mutated images, and this one watches them, counts, and makes small what they
 * find.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { currentFile, type Report, type Task } from "./protocol.ts";
import { addCoverage } from "./coverage.ts";
import type { Base } from "./corpus.ts";
import { generalized, type Finding } from "./exercise.ts";
import type { Case } from "./mutations.ts";

/** A finding, with the smallest case that has been found for it. */
export interface Found extends Finding {
  readonly case: Case;
  count: number;
}

/** What a run did. */
export interface Result {
  readonly seconds: number;
  executions: number;
  skipped: number;
  readonly compared: Map<string, number>;
  readonly outcomes: Map<string, number>;
  readonly reached: Set<string>;
  readonly coverage: Map<string, { lines: Set<number>; total: number }>;
  readonly findings: Map<string, Found>;
}

/** How to fuzz. */
export interface FuzzOptions {
  readonly bases: readonly Base[];
  readonly seconds: number;
  readonly seed: number;
  readonly jobs: number;
  readonly peerEvery: number;
  readonly onNews?: (result: Result) => void;
}

/** Seconds without a report until a child that computes is taken to hang. */
const hangs = 45;
/** Kilobytes of memory at which a child is ended. */
const mostMemory = 1_000_000;
const childFile = join(import.meta.dirname, "child.ts");
// A heap that is small, so that what does not belong there is noticed.
const flags = ["--max-old-space-size=300"];

/** Findings with the same key have the same cause, as far as that can be told. */
const keyOf = ({ property, command, message }: Finding): string =>
  `${property}: ${command}: ${generalized(message)}`;

/** Fuzzes for a while. */
export async function fuzz(options: FuzzOptions): Promise<Result> {
  const { seconds, jobs } = options;
  const result: Result = {
    seconds,
    executions: 0,
    skipped: 0,
    compared: new Map(),
    outcomes: new Map(),
    reached: new Set(),
    coverage: new Map(),
    findings: new Map(),
  };
  const directory = mkdtempSync(join(tmpdir(), "platter-fuzz-"));
  const end = performance.now() + seconds * 1000;
  try {
    await Promise.all(
      Array.from({ length: jobs }, async (_, job) => {
        // A child that died is followed by one with another seed.
        for (let life = 0; performance.now() < end; life++) {
          const task = taskOf(options, directory, options.seed + job + 1000 * life);
          await watch(task, end, result, options.onNews);
        }
      }),
    );
    for (const found of result.findings.values()) {
      result.findings.set(keyOf(found), {
        ...found,
        case: await shrunk(found, options, directory),
      });
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return result;
}

/** Tries only these cases. */
export async function replay(bases: readonly Base[], cases: readonly Case[]): Promise<Result> {
  const options: FuzzOptions = { bases, seconds: 600, seed: 0, jobs: 1, peerEvery: 1 };
  const directory = mkdtempSync(join(tmpdir(), "platter-fuzz-"));
  try {
    const result = emptyResult();
    await watch({ ...taskOf(options, directory, 0), cases }, performance.now() + 600_000, result);
    return result;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const emptyResult = (): Result => ({
  seconds: 0,
  executions: 0,
  skipped: 0,
  compared: new Map(),
  outcomes: new Map(),
  reached: new Set(),
  coverage: new Map(),
  findings: new Map(),
});

function taskOf({ bases, peerEvery }: FuzzOptions, top: string, seed: number): Task {
  const directory = join(top, String(seed));
  mkdirSync(directory, { recursive: true });
  return { bases, directory, seed, peerEvery };
}

/** Runs a child until the end, or its own. */
async function watch(
  task: Task,
  end: number,
  result: Result,
  onNews?: (result: Result) => void,
): Promise<void> {
  const child = fork(childFile, [], { serialization: "advanced", execArgv: flags, stdio: "pipe" });
  let said = "";
  child.stderr!.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2000)));
  let heard = performance.now();
  let last: Report | undefined;
  let verdict: string | undefined;
  child.on("message", (report: Report) => {
    heard = performance.now();
    add(report, last, result);
    last = report;
    onNews?.(result);
  });
  child.send(task);
  const timer = setInterval(() => {
    const { cpu, memory } = usage(child);
    if (performance.now() > end) verdict = "over";
    else if (memory > mostMemory) verdict = `memory is limited: ${memory} KB`;
    else if (performance.now() - heard > hangs * 1000) verdict = `no command hangs: ${cpu} ticks`;
    if (verdict !== undefined) child.kill("SIGKILL");
  }, 250);
  await once(child, "exit");
  clearInterval(timer);
  if (verdict === "over" || last?.done === true) return;
  const file = join(task.directory, currentFile);
  const current = existsSync(file) ? readFileSync(file, "utf8") : "";
  const [property = "", message = ""] = (verdict ?? `the process lives: ${said}`).split(": ");
  if (current === "") throw new Error(`A child died before its first case: ${property} ${said}`);
  note(
    { property, command: "child", message: message === "" ? said : message },
    JSON.parse(current) as Case,
    result,
  );
}

/** Processor time in ticks and memory in kilobytes that a child has. */
function usage({ pid }: ChildProcess): { cpu: number; memory: number } {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return { cpu: Number(fields[11]) + Number(fields[12]), memory: Number(fields[21]) * 4 };
  } catch {
    return { cpu: 0, memory: 0 };
  }
}

function add(report: Report, last: Report | undefined, result: Result): void {
  result.executions += report.executions - (last?.executions ?? 0);
  result.skipped += report.skipped - (last?.skipped ?? 0);
  for (const kind of ["compared", "outcomes"] as const) {
    for (const [what, count] of Object.entries(report[kind])) {
      const more = count - (last?.[kind][what] ?? 0);
      result[kind].set(what, (result[kind].get(what) ?? 0) + more);
    }
  }
  for (const what of report.reached) result.reached.add(what);
  addCoverage(result.coverage, report.coverage);
  for (const finding of report.findings) note(finding, finding.case, result);
}

function note(finding: Finding, one: Case, { findings }: Result): void {
  const key = keyOf(finding);
  const before = findings.get(key);
  const isSmaller = before !== undefined && one.mutations.length < before.case.mutations.length;
  const count = (before?.count ?? 0) + 1;
  const { property, command, message } = before !== undefined && !isSmaller ? before : finding;
  const smallest = before !== undefined && !isSmaller ? before.case : one;
  findings.set(key, { property, command, message, case: smallest, count });
}

/** The case with as few mutations as still lead to the finding. */
async function shrunk(found: Found, { bases }: FuzzOptions, _top: string): Promise<Case> {
  let { mutations } = found.case;
  if (found.command === "child") return found.case;
  for (let i = mutations.length - 1; i >= 0 && mutations.length > 1; i--) {
    const fewer = { base: found.case.base, mutations: mutations.toSpliced(i, 1) };
    const { findings } = await replay(bases, [fewer]);
    if (findings.has(keyOf(found))) ({ mutations } = fewer);
  }
  return { base: found.case.base, mutations };
}
