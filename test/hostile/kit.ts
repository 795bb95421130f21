/** What hostile images are made of, and how they are run with strace looking on. */
import { spawnSync } from "node:child_process";
import { readFileSync, realpathSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { create, open } from "../../src/index.ts";
import { luksPassword } from "./luks.ts";
import type { Ran } from "./run.ts";

/** The bytes of a sound qcow2 image and a sound LUKS volume. */
export interface SoundImages {
  readonly qcow2: Uint8Array;
  readonly luks: Uint8Array;
}

/** Makes them, as the files `sound` and `luks` of a directory. */
export async function makeSound(directory: string): Promise<SoundImages> {
  const name = join(directory, "sound");
  await create({ name, format: "qcow2", size: 2 ** 20 });
  {
    await using disk = await open(name, { writable: true });
    await disk.write(0, new Uint8Array(65_536).fill(7));
  }
  const luks = join(directory, "luks");
  const formatOptions = { "key-secret": "s", "iter-time": 10, "cipher-alg": "aes-128" };
  const secrets = async (): Promise<Uint8Array> => new TextEncoder().encode(luksPassword);
  await create({ name: luks, format: "luks", size: 2 ** 16, formatOptions }, { secrets });
  return {
    qcow2: new Uint8Array(readFileSync(name)),
    luks: new Uint8Array(readFileSync(luks)),
  };
}

/** Whether there is a strace to look on. */
export const hasStrace = spawnSync("strace", ["-V"]).status === 0;

const repository = resolve(import.meta.dirname, "../..");
/** Where programs and the system have their own files. */
const system = [
  repository,
  realpathSync(join(repository, "node_modules")),
  "/usr/",
  "/lib",
  "/etc/",
  "/sys/",
  "/proc/self/maps",
  "/proc/self/cgroup",
  "/proc/sys/",
  "/dev/null",
];

/** What `image` in a run of `run.ts` had opened: paths, and addresses of sockets; not the system's own. */
export type Opened = ReadonlyMap<string, readonly string[]>;

/** Runs a program under strace; what it prints, and strace's log. */
export function traced(
  program: readonly string[],
  cwd: string,
): { readonly output: string; readonly log: string } {
  const file = join(cwd, "strace.log");
  const calls = "trace=open,openat,openat2,connect,socket,execve";
  const words = ["--seccomp-bpf", "-f", "-s", "4096", "-e", calls, "-o", file];
  const options = { cwd, timeout: 240_000, maxBuffer: 2 ** 28, encoding: "utf8" } as const;
  const { error, stdout } = spawnSync("strace", [...words, ...program], options);
  if (error !== undefined) throw error;
  const log = readFileSync(file, "utf8");
  rmSync(file);
  return { output: stdout, log };
}

/** What is asked for in a log, but for what belongs to programs and the system. */
export function namesIn(log: string, cwd: string): string[] {
  const found = new Set<string>();
  for (const [, call, name] of log.matchAll(/ (\w+)\([^"\n]*"((?:[^"\\]|\\.)*)"/g)) {
    if (call === "execve") continue;
    const path = call === "connect" ? `socket ${name}` : resolve(cwd, name!);
    if (!system.some((start) => path.startsWith(start))) found.add(path);
  }
  for (const [call] of log.matchAll(/\b(?:socket|connect)\([^)]*/g)) found.add(call);
  return [...found];
}

/** Runs `run.ts` over images, under strace. */
export function runAll(
  mode: "untrusted" | "trusting",
  images: readonly string[],
  command = "all",
): { readonly lines: readonly Ran[]; readonly opened: Opened } {
  const runner = join(import.meta.dirname, "run.ts");
  const program = [process.execPath, runner, mode, command, ...images];
  const { output, log } = traced(program, dirname(images[0]!));
  const lines = output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Ran);
  const parts = log.split(/^.*"\/marker(\/(?:[^"\\]|\\.)*)".*$/m).slice(1);
  const opened = new Map<string, readonly string[]>();
  for (let i = 0; i < parts.length; i += 2) {
    opened.set(parts[i]!, namesIn(parts[i + 1]!, dirname(parts[i]!)));
  }
  return { lines, opened };
}
