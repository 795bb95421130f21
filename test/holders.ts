/**
 * Programs of QEMU that have images open until they are told to stop: a storage daemon, an NBD server, and a
 * virtual machine that has not been started. Each has every image that it is given, whole chains at once.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** How an image is held; "shared" as a guest that lets others write to the disk too (`share-rw=on`). */
export type Hold = "for writing" | "for reading" | "shared";

/** An image that is to be held. */
export interface Held {
  /** Where it is. */
  readonly path: string;
  readonly format: "raw" | "qcow2";
  /** Its data file, which QEMU would else look for in its working directory. */
  readonly dataFile?: string | undefined;
  readonly hold: Hold;
}

/** What holds images. */
export interface Holder extends AsyncDisposable {
  /** Everything that the program has said. */
  readonly said: () => string;
}

/** The programs that can hold an image, and how. */
export const holders = {
  "qemu-storage-daemon": holdWithDaemon,
  "qemu-nbd": holdWithServers,
  "qemu-system-x86_64": holdWithMachine,
} as const satisfies Record<string, (images: readonly Held[], directory: string) => unknown>;

/** The options of one image: nodes of files, and of the format above them. */
function nodesOf(image: Held, index: number): string[][] {
  const readOnly = `read-only=${image.hold === "for reading" ? "on" : "off"}`;
  const file = (name: string, path: string): string =>
    `driver=file,node-name=${name},filename=${path},${readOnly}`;
  const data = image.dataFile;
  return [
    [`--blockdev`, file(`f${index}`, image.path)],
    ...(data === undefined ? [] : [[`--blockdev`, file(`d${index}`, data)]]),
    [
      `--blockdev`,
      `driver=${image.format},node-name=n${index},file=f${index},${readOnly}` +
        (data === undefined ? "" : `,data-file=d${index}`),
    ],
  ];
}

async function holdWithDaemon(images: readonly Held[], directory: string): Promise<Holder> {
  const exports = images.map((image, index) => [
    "--export",
    `type=nbd,id=e${index},node-name=n${index},writable=${image.hold === "for reading" ? "off" : "on"}`,
  ]);
  return greeted("qemu-storage-daemon", directory, [
    ...images.flatMap(nodesOf).flat(),
    "--nbd-server",
    `addr.type=unix,addr.path=${join(directory, "nbd.sock")}`,
    ...exports.flat(),
    "--chardev",
    "stdio,id=monitor",
    "--monitor",
    "chardev=monitor",
  ]);
}

/** The image is a disk of a machine that has not been started; nothing in it runs. */
async function holdWithMachine(images: readonly Held[], directory: string): Promise<Holder> {
  const devices = images.map((image, index) => [
    "-device",
    `virtio-blk-pci,drive=n${index},share-rw=${image.hold === "shared" ? "on" : "off"}`,
  ]);
  return greeted("qemu-system-x86_64", directory, [
    ..."-nodefaults -machine q35,accel=tcg -m 64 -display none -S -qmp stdio".split(" "),
    ...images.flatMap(nodesOf).flat(),
    ...devices.flat(),
  ]);
}

/** A server for each image, in the image's directory. */
async function holdWithServers(images: readonly Held[], directory: string): Promise<Holder> {
  const servers: Holder[] = [];
  const stop = async (): Promise<void> => {
    for (const server of servers) await server[Symbol.asyncDispose]();
  };
  try {
    for (const [index, image] of images.entries()) {
      const socket = join(directory, `nbd${index}.sock`);
      const mode = image.hold === "for reading" ? ["-r"] : [];
      const args = ["-t", "-k", socket, "-f", image.format, ...mode, basename(image.path)];
      const server = start("qemu-nbd", dirname(image.path), args);
      servers.push(server);
      while (!existsSync(socket)) {
        if (server.ended()) throw new Error(`qemu-nbd ended: ${server.said()}`);
        await sleep(10);
      }
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    said: () => servers.map((server) => server.said()).join(""),
    [Symbol.asyncDispose]: stop,
  };
}

/** A program whose monitor greets on its standard output once its images are open. */
async function greeted(
  program: string,
  directory: string,
  args: readonly string[],
): Promise<Holder> {
  const holder = start(program, directory, args);
  while (!holder.said().includes("QMP")) {
    if (holder.ended()) throw new Error(`${program} ended: ${holder.said()}`);
    await sleep(10);
  }
  return holder;
}

function start(
  program: string,
  cwd: string,
  args: readonly string[],
): Holder & { readonly ended: () => boolean } {
  const child: ChildProcess = spawn(program, args, { cwd, stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  const listen = (data: Buffer): void => void (said += data.toString());
  child.stdout?.on("data", listen);
  child.stderr?.on("data", listen);
  child.on("error", (error) => (said += error.message));
  const ended = (): boolean =>
    child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  return {
    said: () => said,
    ended,
    async [Symbol.asyncDispose]() {
      if (ended()) return;
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    },
  };
}
