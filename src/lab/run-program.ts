import { spawn } from "node:child_process";
import { PlatterError } from "../errors.ts";

/** Whether a program is there and starts. */
export async function hasProgram(program: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, ["-V"], { stdio: "ignore", env: environment() });
    child.once("error", () => resolve(false));
    child.once("close", () => resolve(true));
  });
}

/**
 * Runs a program to its end. Throws `E_EXTERNAL` with the last line of what it said when it fails,
 * `E_ABORTED` when `signal` ends it.
 */
export async function runProgram(
  program: string,
  words: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const child = spawn(program, words, {
    stdio: ["ignore", "ignore", "pipe"],
    env: environment(),
    ...(signal && { signal }),
  });
  let said = "";
  child.stderr
    .setEncoding("utf8")
    .on("data", (text: string) => (said = (said + text).slice(-4096)));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", (error) => reject(signal?.aborted === true ? aborted(error) : error));
    child.once("close", resolve);
  });
  if (code === 0) return;
  if (signal?.aborted === true) throw aborted();
  const last = said.trim().split("\n").at(-1) ?? "";
  throw new PlatterError("E_EXTERNAL", `${program} failed with exit code ${code}: ${last}`, {
    value: code ?? -1,
  });
}

/** mke2fs lives where the path of users often does not reach. */
const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  LC_ALL: "C",
  PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`,
});

const aborted = (cause?: unknown): PlatterError =>
  new PlatterError("E_ABORTED", "The operation was aborted", { cause });
