/** Every command that writes, the images that it is tried on, and how to come in the middle of its work. */
import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Peer } from "../peers.ts";

/** A command line; what it writes, and what must be as it was. */
export interface Scenario {
  readonly words: string;
  /** Images that have to be consistent afterwards. */
  readonly images: readonly string[];
  /** An image that shows the guest the same, whenever the command is killed. */
  readonly same?: string;
  /** Made by the command: may be refused as unfinished. */
  readonly makes?: string;
}

/** The command lines. */
export const scenarios: readonly Scenario[] = [
  { words: "create -f qcow2 -o preallocation=metadata new 64G", images: [], makes: "new" },
  { words: "convert -O qcow2 top new", images: ["top"], same: "top", makes: "new" },
  { words: "convert -c -O qcow2 top new", images: ["top"], same: "top", makes: "new" },
  { words: "convert --bitmaps -O qcow2 top new", images: ["top"], same: "top", makes: "new" },
  { words: "convert -n -O qcow2 top other", images: ["top", "other"], same: "top" },
  { words: "resize other 4T", images: ["other"] },
  { words: "resize --shrink snapped 3M", images: ["snapped"] },
  { words: "resize --shrink other 3M", images: ["other"] },
  { words: "commit top", images: ["top", "base"], same: "top" },
  { words: "rebase -b other -F qcow2 top", images: ["top"], same: "top" },
  { words: "rebase -b  top", images: ["top"], same: "top" },
  { words: "bitmap --add -g 512 top b1", images: ["top"], same: "top" },
  { words: "bitmap --merge b0 top b0", images: ["top"], same: "top" },
  { words: "dd if=base of=new -f qcow2 -O qcow2 bs=64k", images: ["base"], makes: "new" },
  { words: "snapshot -c s1 snapped", images: ["snapped"], same: "snapped" },
  { words: "snapshot -d s0 snapped", images: ["snapped"], same: "snapped" },
  { words: "snapshot -a s0 snapped", images: ["snapped"] },
  { words: "amend -o refcount_bits=64 other", images: ["other"], same: "other" },
  { words: "amend -o compat=0.10 other", images: ["other"], same: "other" },
  { words: "check -r all leaking", images: ["leaking"], same: "leaking" },
];

/** The names of the images. */
export const imageNames = ["base", "top", "other", "snapped", "leaking"];

/** Makes the images in a directory. */
export async function makeImages(qemuImg: Peer, qemuIo: Peer, clean: string): Promise<void> {
  const cwd = { cwd: clean };
  const small = ["-q", "-f", "qcow2", "-o", "cluster_size=4k"];
  await qemuImg.run(["create", ...small, "base", "8M"], cwd);
  await qemuImg.run(["create", ...small, "-b", "base", "-F", "qcow2", "top", "8M"], cwd);
  for (const name of ["other", "snapped", "leaking"]) {
    await qemuImg.run(["create", ...small, name, "8M"], cwd);
  }
  const write = (name: string, ...commands: string[]) =>
    qemuIo.run([...commands.flatMap((one) => ["-c", one]), name], cwd);
  await write("base", "write -P 1 0 6M");
  await write("top", "write -P 2 1M 3M", "write -P 3 5M 64k");
  await write("other", "write -P 4 2M 5M");
  await write("snapped", "write -P 5 0 5M");
  await qemuImg.run(["snapshot", "-c", "s0", "snapped"], cwd);
  await write("snapped", "write -P 6 1M 2M");
  await qemuImg.run(["bitmap", "--add", "top", "b0"], cwd);
  await write("leaking", "write -P 7 0 4M");
  // Clusters behind the end that are counted and that nothing refers to.
  const file = openSync(join(clean, "leaking"), "r+");
  writeSync(file, Buffer.from([0, 1, 0, 1, 0, 1]), 0, 6, 2 * 4096 + 2 * 1200);
  closeSync(file);
}

/** How a program ended. */
export interface Signalled {
  readonly code: number | null | undefined;
  readonly signal: string | null;
  readonly stderr: string;
  /** Milliseconds from the first to the last write that was noticed. */
  readonly window: number;
}

/**
 * Starts a program and sends it `signal` at `share` of its `window` after its first write; without `window`,
 * lets it end. A write is noticed by what `stat` says of the files.
 */
export async function runAndSignal(
  program: string,
  words: string,
  cwd: string,
  share: number,
  window?: number,
  signal: NodeJS.Signals = "SIGKILL",
): Promise<Signalled> {
  const before = stamp(cwd);
  const child = spawn(process.execPath, [program, ...words.split(" ")], {
    cwd,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const state = { code: undefined as number | null | undefined, signal: "" as string | null };
  const ended = new Promise<void>((resolve) => {
    child.once("close", (code, by) => {
      Object.assign(state, { code, signal: by });
      resolve();
    });
  });
  let first: number | undefined;
  let last = 0;
  let seen = before;
  while (state.code === undefined) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    const now = performance.now();
    if (first !== undefined && window !== undefined) {
      if (now - first < share * window) continue;
      child.kill(signal);
      await ended;
      break;
    }
    const found = stamp(cwd);
    if (found === seen) continue;
    seen = found;
    first ??= now;
    last = now;
  }
  return { ...state, stderr, window: first === undefined ? 0 : last - first };
}

/** Changes whenever something is written to a file of a directory. */
function stamp(directory: string): string {
  let text = "";
  for (const name of readdirSync(directory)) {
    try {
      const { mtimeNs, size, blocks } = statSync(join(directory, name), { bigint: true });
      text += `${name} ${mtimeNs} ${size} ${blocks}\n`;
    } catch {
      // Renamed meanwhile: that will show in its name.
    }
  }
  return text;
}
