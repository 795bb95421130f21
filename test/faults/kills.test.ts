/**
 * Real `kill -9`: every command that writes is started on a copy of an image and killed at a random
 * moment between its first and its last write. Afterwards qemu-img's check finds nothing worse than leaks in the file that was there before,
 * and the guest sees what it saw, where the command does not change that.
 */
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
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { describePeer } from "../peers.ts";
import { imageNames, makeImages, runAndSignal, scenarios, type Scenario } from "./writing.ts";
import { generator, temporaryDirectory } from "../qcow2/kit.ts";

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
  const link = join(directory, "qemu-img");

  beforeAll(async () => {
    symlinkSync(program, link);
    mkdirSync(clean);
    await makeImages(qemuImg, qemuIo, clean);
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
      for (const name of imageNames) copyFileSync(join(clean, name), join(work, name));
      const untouched = contents(work);
      totals.started++;
      const share = next(1000) / 1000;
      const ended = await runAndSignal(link, scenario.words, work, share, window);
      const left = contents(work);
      if (trial === 0) {
        expect(ended.code).toBe(0);
        window = Math.max(1, ended.window);
        whole = left;
      } else if (ended.signal === "SIGKILL") {
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
});

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
