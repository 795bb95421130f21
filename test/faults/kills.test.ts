/**
 * Real `kill -9`: every command that writes is started on a copy of an image and killed at a random
 * moment. Afterwards qemu-img's check finds nothing worse than leaks in the file that was there before,
 * and the guest sees what it saw, where the command does not change that.
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
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
const totals = { started: 0, killed: 0, leaks: 0, refused: 0 };
const next = generator(inject("seed") ?? Date.now());
const program = join(import.meta.dirname, "../../bin/platter.js");

afterAll(() => {
  const { started, killed, leaks, refused } = totals;
  process.stdout.write(
    `kill -9: ${started} started, ${killed} killed before their end, ` +
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
    // How long the whole command takes decides among which moments is chosen.
    let duration = 0;
    let killed = 0;
    for (let trial = 0; killed < kills && trial < most; trial++) {
      rmSync(work, { recursive: true, force: true });
      mkdirSync(work);
      for (const name of names) copyFileSync(join(clean, name), join(work, name));
      totals.started++;
      const began = performance.now();
      const wait = trial === 0 ? undefined : 40 + next(Math.max(1, Math.ceil(duration - 50)));
      const ended = await runAndKill(scenario.words.split(" "), work, wait);
      if (trial === 0) {
        duration = performance.now() - began;
        expect(ended).toBe("exit 0");
      } else if (ended === "killed") killed++;
      await examine(scenario, work, `${wait} ms of ${duration}`);
    }
    totals.killed += killed;
  });

  test("enough were killed", () => {
    expect(totals.killed).toBeGreaterThanOrEqual(200 * inject("effort"));
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

  function runAndKill(words: readonly string[], cwd: string, wait: number | undefined) {
    return new Promise<string>((resolve, reject) => {
      const child = spawn(process.execPath, [link, ...words], { cwd, stdio: "ignore" });
      const timer = wait === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), wait);
      child.once("error", reject);
      child.once("exit", (code, signal) => {
        clearTimeout(timer);
        resolve(signal === "SIGKILL" ? "killed" : `exit ${code}`);
      });
    });
  }
});
