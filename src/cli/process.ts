import { fstatSync, statSync, writeSync } from "node:fs";
import type { Environment, Output } from "./environment.ts";

/** The environment of this process. */
export function processEnvironment(): Environment {
  return {
    stdout: new DirectOutput(1, () => process.stdout),
    stderr: new DirectOutput(2, () => process.stderr),
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

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/**
 * An output that is written at once. A stream would do the same on Linux, where Node's streams for files, pipes
 * and terminals are synchronous; but making one takes longer than all the rest of a small command. There is one
 * only where the other side makes us wait in the way of a stream.
 */
class DirectOutput implements Output {
  closed = false;
  private readonly fd: number;
  private readonly makeStream: () => NodeJS.WriteStream;
  /** In the place of this output, once it cannot be written at once. */
  private stream: NodeJS.WriteStream | undefined;
  private drain: Promise<void> | undefined;
  private terminal: boolean | undefined;

  constructor(fd: number, stream: () => NodeJS.WriteStream) {
    this.fd = fd;
    this.makeStream = stream;
  }

  get isTerminal(): boolean {
    return (this.terminal ??= isTerminal(this.fd));
  }

  get columns(): number {
    const columns = this.isTerminal ? this.makeStream().columns : 0;
    // Some terminals do not know their width and say 0.
    return columns > 0 ? columns : 80;
  }

  write(text: string): void {
    if (this.closed) return;
    if (this.stream !== undefined) {
      this.writeLater(this.stream, text);
      return;
    }
    const bytes = Buffer.from(text);
    let done = 0;
    while (done < bytes.length) {
      try {
        done += writeSync(this.fd, bytes, done);
      } catch (error) {
        const code = codeOf(error);
        if (code === "EINTR") continue;
        if (code === "EAGAIN") {
          // Whoever shares it with us has said that no writer of it waits.
          this.stream = this.makeStream();
          this.stream.on("error", (failure) => this.fail(failure));
          this.writeLater(this.stream, bytes.subarray(done));
        } else {
          this.fail(error);
        }
        return;
      }
    }
  }

  async drained(): Promise<void> {
    return this.drain;
  }

  private fail(error: unknown): void {
    const first = !this.closed;
    this.closed = true;
    // A reader that has seen enough (`| head`) is no error; the work goes on, as in qemu-img.
    if (!first || codeOf(error) === "EPIPE") return;
    process.exitCode = 1;
    const message = error instanceof Error ? error.message : String(error);
    try {
      writeSync(2, `platter: The output cannot be written: ${message}\n`);
    } catch {
      // Then nobody can be told.
    }
  }

  private writeLater(stream: NodeJS.WriteStream, data: string | Uint8Array): void {
    if (stream.write(data) || this.drain !== undefined) return;
    this.drain = new Promise((resolve) => {
      const done = (): void => {
        stream.off("drain", done);
        stream.off("error", done);
        this.drain = undefined;
        resolve();
      };
      stream.on("drain", done);
      stream.on("error", done);
    });
  }
}

/** Whether a descriptor is a terminal; `node:tty`, which knows, is asked only where nothing else can tell. */
function isTerminal(fd: number): boolean {
  try {
    const stats = fstatSync(fd);
    if (!stats.isCharacterDevice() || stats.rdev === statSync("/dev/null").rdev) return false;
  } catch {
    // Not even a descriptor, or a system without such a device.
  }
  return process.getBuiltinModule("node:tty").isatty(fd);
}
