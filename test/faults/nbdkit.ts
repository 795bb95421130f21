/** An image on a real NBD server that can be told to fail, seen as a file through nbdfuse. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/** What the server can be told to fail. */
export type Failing = "pread" | "pwrite" | "flush";

/** A running server and the file that shows its image. */
export class ServedFile implements AsyncDisposable {
  /** The file through which the image is used. */
  readonly mount: string;
  private readonly children: ChildProcess[] = [];

  private constructor(directory: string, name: string) {
    this.mount = join(directory, name);
  }

  /**
   * Serves the file `image` as `name` in `directory`: by the error filter, which fails each call of `failing`
   * with the probability `rate`, or for flushes, which that filter does not know, by a script. Nothing fails
   * until {@link ServedFile.arm}.
   */
  static async start(
    directory: string,
    name: string,
    image: string,
    failing: Failing,
    rate = 1,
  ): Promise<ServedFile> {
    const served = new ServedFile(directory, name);
    const socket = join(directory, `${name}.socket`);
    for (const file of [socket, served.trigger, served.log]) rmSync(file, { force: true });
    const filter = ["--filter=error", "file", image];
    const options = [`error-${failing}=EIO`, `error-${failing}-rate=${rate}`];
    const words =
      failing === "flush"
        ? script(image, served.trigger)
        : [...filter, ...options, `error-${failing}-file=${served.trigger}`];
    const log = `exec nbdkit -f -U "$@" 2>"${served.log}"`;
    served.children.push(spawn("sh", ["-c", log, "sh", socket, ...words], { stdio: "ignore" }));
    await until(() => existsSync(socket), "nbdkit");
    writeFileSync(served.mount, "");
    const uri = `nbd+unix:///?socket=${socket}`;
    served.children.push(spawn("nbdfuse", [served.mount, uri], { stdio: "ignore" }));
    await until(() => statSync(served.mount).size > 0, "nbdfuse");
    return served;
  }

  private get trigger(): string {
    return `${this.mount}.trigger`;
  }

  private get log(): string {
    return `${this.mount}.log`;
  }

  /** From now on calls fail, or do not any more. */
  arm(on: boolean): void {
    if (on) writeFileSync(this.trigger, "");
    else rmSync(this.trigger, { force: true });
  }

  /** The server, or what shows its image as a file, stops answering, or goes on. */
  stop(which: "server" | "mount", on: boolean): void {
    this.children[which === "server" ? 0 : 1]?.kill(on ? "SIGSTOP" : "SIGCONT");
  }

  /** How many calls have failed. */
  get injected(): number {
    return readFileSync(this.log, "utf8").match(/injecting EIO|flush failed/g)?.length ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const which of ["server", "mount"] as const) this.stop(which, false);
    spawnSync("umount", [this.mount]);
    for (const child of this.children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.mount, { force: true });
  }
}

/** A server of shell commands whose flush fails while there is a file `trigger`. */
const script = (image: string, trigger: string): string[] => [
  "eval",
  `get_size=stat -c %s ${image}`,
  `pread=dd if=${image} skip=$4 count=$3 iflag=skip_bytes,count_bytes bs=64k status=none`,
  `pwrite=dd of=${image} seek=$4 oflag=seek_bytes conv=notrunc bs=64k status=none`,
  `flush=if [ -e ${trigger} ]; then echo "EIO flush failed" >&2; exit 1; fi`,
  "can_write=exit 0",
  "can_flush=exit 0",
];

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return;
    await pause(20);
  }
  throw new Error(`${what} does not start`);
}
