import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, expect, test } from "vitest";

/** Whether all of these programs are on the PATH. */
export const havePrograms = (...programs: readonly string[]): boolean =>
  programs.every((program) =>
    `${process.env["PATH"] ?? ""}${delimiter}/usr/sbin${delimiter}/sbin`
      .split(delimiter)
      .some((directory) => existsSync(join(directory, program))),
  );

/** Under `CI=true` a missing program is a failure, not a reason to skip. */
export function requireInCi(...programs: readonly string[]): void {
  if (process.env["CI"] !== "true") return;
  test(`${programs.join(", ")} must be installed under CI`, () => {
    expect(havePrograms(...programs)).toBe(true);
  });
}

/** A directory that is gone after the tests of the file or `describe`; not to be called in a test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "platter-test-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** What a program printed and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, within a minute. */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  const path = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      { timeout: 60_000, ...options, env: { ...process.env, PATH: path, ...options.env } },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
        resolve({ code, stdout, stderr });
      },
    );
  });
}

/** A program that goes on running until it is told to stop. */
export interface Running {
  stop(): Promise<void>;
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once("exit", () => resolve());
  });

/**
 * Starts a `qemu-storage-daemon` and resolves when its monitor greets, which is after it has opened
 * its images.
 */
export async function startDaemon(args: readonly string[], directory: string): Promise<Running> {
  const child = spawn(
    "qemu-storage-daemon",
    [...args, "--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor"],
    { cwd: directory, stdio: ["pipe", "pipe", "pipe"] },
  );
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (data: Buffer) => {
      said += data.toString();
      if (said.includes("QMP")) resolve();
    });
    child.stderr.on("data", (data: Buffer) => (said += data.toString()));
    child.once("exit", () => reject(new Error(`qemu-storage-daemon ended: ${said}`)));
  });
  return {
    async stop() {
      child.kill("SIGTERM");
      await ended(child);
    },
  };
}
