/** Guests of a test file: our program with a state directory of its own, which is removed at the end. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, expect } from "vitest";

const program = join(import.meta.dirname, "../../bin/platter.js");

/** How a run of our program ended. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A guest in `vm list --json`. */
export interface Listed {
  readonly name: string;
  readonly state: string;
  readonly pid?: number;
}

const temporary = mkdtempSync(join(tmpdir(), "platter-vm-"));
const environment = { ...process.env, XDG_STATE_HOME: join(temporary, "state") };
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

/** A path in the temporary directory, from which our program is run. */
export const at = (name: string): string => join(temporary, name);

/** Runs our program to its end. `more` is added to its environment. */
export function platterWith(more: NodeJS.ProcessEnv, ...words: string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...words], {
    cwd: temporary,
    env: { ...environment, ...more },
    encoding: "utf8",
    timeout: 240_000,
  });
  return { code: status, stdout, stderr };
}

/** Runs our program to its end. */
export const platter = (...words: string[]): Outcome => platterWith({}, ...words);

/** Starts our program. */
export function begin(...words: string[]): {
  readonly child: ChildProcessWithoutNullStreams;
  readonly outcome: Promise<Outcome>;
  /** What it has printed so far. */
  readonly printed: () => string;
} {
  const child = spawn(process.execPath, [program, ...words], { cwd: temporary, env: environment });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const outcome = new Promise<Outcome>((resolve) => {
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
  return { child, outcome, printed: () => stdout };
}

/** The result of a command that succeeds, as JSON. */
export function json(...words: string[]): unknown {
  const { code, stdout, stderr } = platter(...words, "--json");
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
}

/** All guests. */
export const guests = (): Listed[] => json("vm", "list") as Listed[];

/** One of them. */
export const guest = (name: string): Listed | undefined =>
  guests().find((entry) => entry.name === name);

/** Waits until that is so. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 120_000;
  while (performance.now() < end) {
    if (holds()) return;
    await sleep(100);
  }
  expect.unreachable(`never: ${what}`);
}

/** Waits until the guest has said that on its serial port. */
export async function heard(name: string, words: string): Promise<void> {
  const log = at(`state/platter/vm/${name}/serial.log`);
  await until(`${name} says "${words}"`, () => {
    return existsSync(log) && readFileSync(log, "latin1").includes(words);
  });
}

afterEach(() => {
  for (const { name, pid } of guests()) {
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    rmSync(at(`state/platter/vm/${name}`), { recursive: true, force: true });
  }
});
