/**
 * `--timeout` and processes that hang. A request that the kernel is stuck with keeps its thread, and a process
 * with such a thread may not end, not even by SIGKILL; and a call that blocks the main thread stops its timers,
 * too. So with `--timeout` the work is done by a child, and what the user started watches it: it ends when the
 * child says that it is done, or says nothing any more.
 */
import { jsonLine } from "./json.ts";
import { faceOf } from "./main.ts";

/** The variable that tells a child that it is one. */
const MARK = "PLATTER_WATCHED";
/** Milliseconds from one sign of life to the next. */
const BEAT = 250;
/** What a child is allowed beyond the timeout, for starting and for work of its own, in milliseconds. */
const GRACE = 3000;
/** How long a child that is done may take to end, in milliseconds. */
const LAST = 200;

const isChild = (): boolean => process.env[MARK] === "1" && process.send !== undefined;

/** The timeout in seconds on a command line; undefined where there is none that can be used. */
function timeoutOf(argv: readonly string[]): number | undefined {
  if (faceOf(argv[1] ?? "") !== "platter") return undefined;
  const at = argv.findIndex((word) => /^--timeo?u?t?(=|$)/.test(word));
  const word = argv[at];
  if (word === undefined) return undefined;
  const seconds = Number(word.includes("=") ? word.slice(word.indexOf("=") + 1) : argv[at + 1]);
  return seconds > 0 ? seconds : undefined;
}

/**
 * Has a child run this very command line, where that asks for a timeout; the exit code then.
 *
 * @param isOneFile whether the program is started without the name of a script
 */
export async function runWatched(
  argv: readonly string[],
  isOneFile: boolean,
): Promise<number | undefined> {
  const seconds = timeoutOf(argv);
  if (seconds === undefined || isChild()) return undefined;
  // Loaded here, because most command lines do without.
  const { spawn } = process.getBuiltinModule("node:child_process");
  const words = isOneFile ? argv.slice(2) : [...process.execArgv, ...argv.slice(1)];
  const child = spawn(process.execPath, words, {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, [MARK]: "1" },
  });
  // A terminal sends Ctrl-C to both; the child answers it, and this process waits for that.
  let signals = 0;
  const passOn = (signal: NodeJS.Signals): void => {
    signals++;
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    if (signals > 2) child.kill("SIGKILL");
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"] as const) {
    process.on(signal, signal === "SIGUSR1" ? () => child.kill(signal) : passOn);
  }
  return new Promise((resolve) => {
    let code: number | undefined;
    // Counted, not measured: a process that was suspended has missed nothing.
    let silent = 0;
    const end = (result: number): void => {
      clearInterval(watch);
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      if (child.connected) child.disconnect();
      child.unref();
      resolve(result);
    };
    const watch = setInterval(() => {
      silent += BEAT;
      if (silent <= seconds * 1000 + GRACE) return;
      tell(argv, seconds);
      end(1);
    }, BEAT);
    child.on("message", (message: { readonly code?: number }) => {
      silent = 0;
      if (message.code === undefined) return;
      code = message.code;
      setTimeout(() => end(code ?? 1), LAST).unref();
    });
    child.once("error", (error) => {
      process.stderr.write(`platter: The program cannot be started once more: ${error.message}\n`);
      end(1);
    });
    child.once("exit", (status, signal) => {
      end(code ?? status ?? (signal === "SIGINT" ? 130 : signal === "SIGTERM" ? 143 : 1));
    });
  });
}

function tell(argv: readonly string[], seconds: number): void {
  const message =
    `no answer from a file within ${seconds} s, from a call that cannot be interrupted: the disk or server ` +
    `behind it has stopped`;
  const isJson = argv.includes("--json");
  process.stderr.write(
    isJson ? `${jsonLine({ error: { code: "E_TIMEOUT", message } })}\n` : `platter: ${message}.\n`,
  );
}

/** As a child: gives signs of life until the returned function is called with the exit code. */
export function beWatched(): ((code: number) => void) | undefined {
  if (!isChild()) return undefined;
  const send = (message: object): void => {
    if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
  };
  const beat = setInterval(() => send({}), BEAT);
  // Who watched has been killed: that is meant for the work.
  const orphaned = (): void => void process.kill(process.pid, "SIGTERM");
  process.once("disconnect", orphaned);
  return (code) => {
    clearInterval(beat);
    process.off("disconnect", orphaned);
    send({ code });
    if (process.connected) process.disconnect?.();
  };
}
