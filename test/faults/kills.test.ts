/**
 * Real `kill -9`: every command that writes is started on a copy of an image and killed at a random
 * moment between its first and its last write. Afterwards qemu-img's check finds nothing worse than leaks in the file that was there before,
 * and the guest sees what it saw, where the command does not change that.
 */
import { spawn } from "node:child_process";
import { hash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { describePeer } from "../peers.ts";
import { generator, temporaryDirectory } from "../qcow2/kit.ts";

/** A command line; what it writes, and what must be as it was. */
interface Scenario {
  readonly words: string;
  /** Images that have to be consistent afterwards. */
  readonly images: readonly string[];
  /** An image that shows the guest the same, whenever the command is killed. */
  readonly same?: string;
  /** Made by the command: may be refused as unfinished. */
  readonly makes?: string;
}

const scenarios: readonly Scenario[] = [
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

/** Kills that each scenario has to see; starts that it may need for them, as some end before. */
const kills = 11 * inject("effort");
const most = 5 * kills;
const totals = { started: 0, killed: 0, writing: 0, leaks: 0, refused: 0 };
const next = generator(inject("seed") ?? Date.now());
const program = join(import.meta.dirname, "../../bin/platter.js");

afterAll(() => {
  const { started, killed, writing, leaks, refused } = totals;
  process.stdout.write(
    `kill -9: ${started} started, ${killed} killed before their end, ${writing} of them ` +
      `between their first and last write, ` +
      `${leaks} images left with leaks, ${refused} new ones refused as unfinished\n`,
  );
});

describePeer(["qemu-img", "qemu-io"], "kill -9 at a random moment", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const clean = join(directory, "clean");
  const names = ["base", "top", "other", "snapped", "leaking"];
  const link = join(directory, "qemu-img");

  beforeAll(async () => {
    symlinkSync(program, link);
    mkdirSync(clean);
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
  });

  test.for(scenarios)("$words", async (scenario) => {
    const work = join(directory, "work");
    // How long it writes decides among which moments is chosen.
    let window: number | undefined;
    let whole = "";
    let killed = 0;
    for (let trial = 0; killed < kills && trial < most; trial++) {
      rmSync(work, { recursive: true, force: true });
      mkdirSync(work);
      for (const name of names) copyFileSync(join(clean, name), join(work, name));
      const untouched = contents(work);
      totals.started++;
      const share = next(1000) / 1000;
      const ended = await runAndKill(scenario.words.split(" "), work, share, window);
      const left = contents(work);
      if (trial === 0) {
        expect(ended.exit).toBe("exit 0");
        window = Math.max(1, ended.window);
        whole = left;
      } else if (ended.exit === "killed") {
        killed++;
        if (left !== untouched && left !== whole) totals.writing++;
      } else if (window !== undefined) window *= 0.8;
      await examine(scenario, work, `${share} of ${window} ms`);
    }
    totals.killed += killed;
  });

  test("enough were killed", () => {
    expect(totals.killed).toBeGreaterThanOrEqual(200 * inject("effort"));
    expect(totals.writing).toBeGreaterThan(0);
  });

  async function examine(
    { images, same, makes }: Scenario,
    cwd: string,
    when: string,
  ): Promise<void> {
    for (const image of images) {
      const { status, stdout, stderr } = await qemuImg.attempt(["check", image], { cwd });
      if (status === 3) totals.leaks++;
      expect([0, 3], `${when}: ${image}: ${stdout}${stderr}`).toContain(status);
    }
    if (same !== undefined) {
      const args = ["compare", "-U", join("..", "clean", same), same];
      const { status, stdout, stderr } = await qemuImg.attempt(args, { cwd });
      expect(status, `${when}: ${same}: ${stdout}${stderr}`).toBe(0);
    }
    if (makes === undefined || !existsSync(join(cwd, makes))) return;
    if (statSync(join(cwd, makes)).size === 0) return;
    const { status, stdout, stderr } = await qemuImg.attempt(["check", "-f", "qcow2", makes], {
      cwd,
    });
    const isRefused = /Unsupported qcow2 feature|not in qcow2 format/.test(stderr);
    if (isRefused) totals.refused++;
    else expect([0, 3], `${when}: ${makes}: ${stdout}${stderr}`).toContain(status);
  }

  /**
   * Starts the program and kills it `share` of its `window` after its first write; without `window`, lets
   * it end. A write is noticed by what `stat` says of the files.
   */
  async function runAndKill(words: readonly string[], cwd: string, share: number, window?: number) {
    const before = stamp(cwd);
    const child = spawn(process.execPath, [link, ...words], { cwd, stdio: "ignore" });
    const state = { exit: undefined as string | undefined };
    const ended = new Promise<void>((resolve) => {
      child.once("exit", (code, signal) => {
        state.exit = signal === "SIGKILL" ? "killed" : `exit ${code}`;
        resolve();
      });
    });
    let first: number | undefined;
    let last = 0;
    let seen = before;
    while (state.exit === undefined) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      const now = performance.now();
      if (first !== undefined && window !== undefined) {
        if (now - first < share * window) continue;
        child.kill("SIGKILL");
        await ended;
        break;
      }
      const found = stamp(cwd);
      if (found === seen) continue;
      seen = found;
      first ??= now;
      last = now;
    }
    return { exit: state.exit!, window: first === undefined ? 0 : last - first };
  }
});

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

/** What is in the files of a directory; of long ones, in their beginning. */
const contents = (directory: string): string =>
  readdirSync(directory)
    .toSorted()
    .map((name) => {
      const file = openSync(join(directory, name), "r");
      const bytes = new Uint8Array(12 << 20);
      const count = readSync(file, bytes, 0, bytes.length, 0);
      const { size } = fstatSync(file);
      closeSync(file);
      return `${name} ${size} ${hash("sha1", bytes.subarray(0, count))}`;
    })
    .join("\n");
