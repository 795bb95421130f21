/** What the tests in here share: our program run inside the test, and what has to hold when it fails. */
import { spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Outcome, runOurs as runWords, wordsOf } from "../cli/harness.ts";
import { describePeer, type Peer } from "../peers.ts";

/** The program, for those who start it as a process of its own. */
export const program = new URL("../../bin/platter.js", import.meta.url).pathname;

/** Runs a command line in `cwd`, in this process, as `qemu-img` or as `platter`. */
export const runOurs = (
  line: string,
  cwd: string,
  face: "qemu-img" | "platter" = "qemu-img",
): Promise<Outcome> => runWords(wordsOf(line), { cwd, program: face });

/** What makes images and writes to them. */
interface ImageMaker {
  readonly create: (name: string, ...options: string[]) => Promise<void>;
  /** Has qemu-io carry out its commands on an image. */
  readonly write: (name: string, ...commands: string[]) => Promise<void>;
}

/** Makes images of 2 MiB with clusters of 4 KiB in a directory. */
export const imageMaker = (qemuImg: Peer, qemuIo: Peer, cwd: string): ImageMaker => ({
  async create(name, ...options) {
    const words = ["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", ...options, name, "2M"];
    await qemuImg.run(words, { cwd });
  },
  async write(name, ...commands) {
    await qemuIo.run([...commands.flatMap((one) => ["-c", one]), name], { cwd });
  },
});

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
  // Only root may mount, and only a machine that has FUSE.
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
