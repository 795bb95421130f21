import type { Environment, Output } from "./environment.ts";

/** The environment of this process. */
export function processEnvironment(): Environment {
  return {
    stdout: streamOutput(process.stdout),
    stderr: streamOutput(process.stderr),
    // Looked at only when it is wanted: a standard input that was opened may keep the process alive.
    terminal: () => ({
      input: process.stdin,
      output: process.stdout,
      isTerminal: process.stdin.isTTY && process.stdout.isTTY,
    }),
    variables: process.env,
    now: () => performance.now(),
    onSignal(name, listener) {
      process.on(name, listener);
      return () => process.off(name, listener);
    },
    exit: (code) => process.exit(code),
  };
}

function streamOutput(stream: NodeJS.WriteStream): Output {
  let closed = false;
  let drain: Promise<void> | undefined;
  stream.on("error", (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough (`| head`) is no error; the work goes on, as in qemu-img.
    if (!closed && error.code !== "EPIPE") {
      process.stderr.write(`platter: The output cannot be written: ${error.message}\n`);
      process.exitCode = 1;
    }
    closed = true;
  });
  return {
    isTerminal: stream.isTTY,
    get columns() {
      // Some terminals do not know their width and say 0.
      return stream.columns > 0 ? stream.columns : 80;
    },
    get closed() {
      return closed;
    },
    write(text) {
      if (closed || stream.write(text) || drain !== undefined) return;
      drain = new Promise((resolve) => {
        const done = (): void => {
          stream.off("drain", done);
          stream.off("error", done);
          drain = undefined;
          resolve();
        };
        stream.on("drain", done);
        stream.on("error", done);
      });
    },
    drained: async () => drain,
  };
}
