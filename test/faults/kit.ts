/** What the tests in here share: our program run inside the test, and what has to hold when it fails. */
import { spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { services } from "../../src/cli/services.ts";
import { FakeEnvironment, type Outcome } from "../cli/harness.ts";
import { describePeer } from "../peers.ts";

/** The program, for those who start it as a process of its own. */
export const program = new URL("../../bin/platter.js", import.meta.url).pathname;

/** A command line as one would type it, without its first word; `''` is an empty word. */
export const wordsOf = (line: string): string[] =>
  line.split(" ").map((word) => (word === "''" ? "" : word));

/** Runs a command line in `cwd`, in this process, as `qemu-img` or as `platter`. */
export async function runOurs(
  line: string,
  cwd: string,
  face: "qemu-img" | "platter" = "qemu-img",
): Promise<Outcome> {
  const environment = new FakeEnvironment();
  const home = process.cwd();
  process.chdir(cwd);
  try {
    const code = await main(
      ["node", `/somewhere/${face}`, ...wordsOf(line)],
      environment,
      services,
    );
    return { stdout: environment.stdout.text, stderr: environment.stderr.text, code };
  } finally {
    process.chdir(home);
  }
}

/** The program failed, and says why in one line. */
export function expectOneError(
  { code, stderr }: Outcome,
  why: RegExp | string,
  exit: number = 1,
): void {
  expect(code, stderr).toBe(exit);
  expect(stderr.trimEnd().split("\n"), stderr).toHaveLength(1);
  expect(stderr).toMatch(why);
}

/** As `describePeer`, for what also needs to mount a file through FUSE; skipped with the reason elsewhere. */
export const describeFuse: typeof describePeer = (needs, title, body) => {
  if (existsSync("/dev/fuse") && process.getuid?.() === 0) return describePeer(needs, title, body);
  return describe(title, () => test.skip("needs root and /dev/fuse, to mount a file"));
};

/** Copies `from` into `to`, which is emptied first; holes stay holes. */
export function copyTree(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  const { status, stderr } = spawnSync("cp", ["-r", "--sparse=always", from, to], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
}

/** Runs a program of the system; throws with what it said when it fails. */
export function system(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr}`);
}
