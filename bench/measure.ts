/** Runs a program and takes its time and its memory. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A command line. */
export type CommandLine = readonly [program: string, ...words: string[]];

/** What a run took. */
export interface Run {
  readonly seconds: number;
  /** Largest resident memory of the process in bytes, threads included. */
  readonly memory: number;
  /** Processor time of all threads, in the program and in the kernel for it. */
  readonly processor: number;
  readonly stdout: string;
}

/** Runs a command in `cwd` through GNU time. Throws, with what it said, when it fails. */
export function measure(command: CommandLine, cwd: string): Run {
  const scratch = mkdtempSync(join(tmpdir(), "platter-time-"));
  const file = join(scratch, "memory");
  try {
    const start = performance.now();
    const { status, stdout, stderr } = spawnSync(
      "time",
      ["-f", "%M %U %S", "-o", file, ...command],
      {
        cwd,
        encoding: "utf8",
        maxBuffer: 1 << 30,
      },
    );
    const seconds = (performance.now() - start) / 1000;
    if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}${stdout.slice(0, 500)}`);
    const said = readFileSync(file, "utf8").trim().split("\n").at(-1) ?? "";
    const [kibibytes = NaN, user = NaN, system = NaN] = said.split(" ").map(Number);
    return { seconds, memory: kibibytes * 1024, processor: user + system, stdout };
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
