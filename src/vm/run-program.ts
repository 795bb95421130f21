import { execFile } from "node:child_process";
import { PlatterError } from "../errors.ts";

/** How another program ended. */
export interface ProgramOutcome {
  /** Exit status; undefined when it was killed, at the end of its time or by somebody else. */
  readonly status: number | undefined;
  /** It took longer than it was allowed to. */
  readonly late: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run it. */
export interface ProgramOptions {
  /** Milliseconds after which it is killed. */
  readonly timeout: number;
  /** Where it works; the working directory if not given. */
  readonly cwd?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs another program to its end.
 *
 * @throws `E_NOT_FOUND` if there is none of that name, `E_ABORTED`
 */
export async function runProgram(
  program: string,
  words: readonly string[],
  { timeout, cwd, signal }: ProgramOptions,
): Promise<ProgramOutcome> {
  const options = {
    timeout,
    killSignal: "SIGKILL",
    encoding: "utf8",
    maxBuffer: 64 * 2 ** 20,
    env: { ...process.env, LC_ALL: "C" },
    ...(cwd !== undefined && { cwd }),
    ...(signal && { signal }),
  } as const;
  return new Promise((resolve, reject) => {
    execFile(program, [...words], options, (error, stdout, stderr) => {
      if (error === null) resolve({ status: 0, late: false, stdout, stderr });
      else if (signal?.aborted === true) reject(aborted(error));
      else if (error.code === "ENOENT" || error.code === "EACCES") reject(missing(program, error));
      else {
        const status = typeof error.code === "number" ? error.code : undefined;
        resolve({ status, late: error.killed === true, stdout, stderr });
      }
    });
  });
}

/** The last line that a program said, for a message about its failure. */
export function lastLine({ stdout, stderr }: Pick<ProgramOutcome, "stdout" | "stderr">): string {
  return (stderr.trim() === "" ? stdout : stderr).trim().split("\n").at(-1) ?? "";
}

const aborted = (cause: Error): PlatterError =>
  new PlatterError("E_ABORTED", "The operation was cancelled.", { cause });

function missing(program: string, cause: Error): PlatterError {
  return new PlatterError("E_NOT_FOUND", `${program} cannot be run: is it installed?`, {
    value: program,
    cause,
  });
}
