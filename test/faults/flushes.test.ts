/**
 * Flushes that fail: each command that is to have something on stable storage runs under strace, which has one
 * fsync or fdatasync, or all from one on, answer EIO. It never ends with success, says why in one line, what it
 * was making is gone, and what was there is consistent.
 */
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { describePeer } from "../peers.ts";
import { temporaryDirectory } from "../qcow2/kit.ts";
import { imageNames, makeImages, scenarios, type Scenario } from "./writing.ts";

const program = join(import.meta.dirname, "../../bin/platter.js");

/** Those that make images have to be told. */
const making: readonly Scenario[] = [
  ...["-t writeback", "-t writethrough", "-t none", "-t directsync", "--sync"].flatMap((how) => [
    { words: `convert ${how} -O qcow2 top new`, images: [], makes: "new" },
    { words: `convert ${how} -O raw top new`, images: [], makes: "new" },
  ]),
  { words: "convert --sync -c -O qcow2 top new", images: [], makes: "new" },
  { words: "convert --sync --bitmaps -O qcow2 top new", images: [], makes: "new" },
  { words: "convert --sync -O qcow2 -o data_file=data top new", images: [], makes: "new" },
  { words: "convert --sync -O qcow2 top other", images: ["other"], same: "other" },
  { words: "convert --sync -n -O qcow2 top other", images: ["other"] },
  { words: "create --sync -f qcow2 -o preallocation=falloc new 8M", images: [], makes: "new" },
  { words: "create --sync -f raw new 8M", images: [], makes: "new" },
  { words: "create --sync -f qcow2 other 8M", images: ["other"], same: "other" },
  { words: "dd --sync if=top of=new -O qcow2 bs=64k", images: [], makes: "new" },
  { words: "dd --sync if=top of=new -O raw bs=64k", images: [], makes: "new" },
  { words: "dd --sync if=top of=other -O qcow2 conv=notrunc bs=64k", images: ["other"] },
];
/** Those that change images do so anyway. */
const changing = scenarios.filter(
  ({ makes, words }) => makes === undefined && !words.includes("-n"),
);

const totals = { runs: 0, failed: 0 };
afterAll(() => {
  process.stdout.write(
    `failing flushes: ${totals.runs} runs of ${making.length + changing.length} command lines, ` +
      `${totals.failed} failed flushes\n`,
  );
});

describePeer(["qemu-img", "qemu-io", "strace"], "a flush that fails", (qemuImg, qemuIo, strace) => {
  const directory = temporaryDirectory();
  const clean = join(directory, "clean");
  const work = join(directory, "work");
  const log = join(directory, "log");

  beforeAll(async () => {
    mkdirSync(clean);
    await makeImages(qemuImg, qemuIo, clean);
  });

  /** Runs a line, with the flushes that `when` says failing; none of them without it. */
  async function run(words: string, when?: string, call = "fdatasync") {
    rmSync(work, { recursive: true, force: true });
    mkdirSync(work);
    for (const name of imageNames) copyFileSync(join(clean, name), join(work, name));
    // Files are flushed by fdatasync, the directory by fsync, as is stdout by a library of ours when it ends.
    const name = call === "fsync" ? ["-P", work] : [];
    const injecting = when === undefined ? [] : ["-e", `inject=${call}:error=EIO:when=${when}`];
    const tracing = ["-f", "-qq", "-o", log, ...name, "-e", `trace=${call}`, ...injecting];
    const command = [process.execPath, program, ...words.split(" ")];
    const outcome = await strace.attempt([...tracing, ...command], {
      cwd: work,
      // Calls are counted by thread.
      env: { UV_THREADPOOL_SIZE: "1" },
    });
    const lines = readFileSync(log, "utf8").split("\n");
    return {
      ...outcome,
      flushes: lines.filter((line) => /f(data)?sync\(/.test(line)).length,
      injected: lines.filter((line) => line.includes("(INJECTED)")).length,
    };
  }

  test.for([...making, ...changing])("$words", async ({ words, images, same, makes }) => {
    const whole = await run(words);
    expect(whole.status, whole.stderr).toBe(0);
    expect(whole.flushes).toBeGreaterThan(0);
    const last = whole.flushes;
    const some = inject("effort") > 1 ? Array.from({ length: last }, (_, i) => i + 1) : [1, last];
    const cases = new Set([...some.map(String), "1+", `${Math.ceil(last / 2)}+`]);
    for (const when of cases) {
      totals.runs++;
      const { status, stderr, injected } = await run(words, when);
      const where = `flush ${when} of ${last}: ${stderr}`;
      expect(injected, where).toBeGreaterThan(0);
      totals.failed += injected;
      expect(status, where).toBe(1);
      expect(stderr, where).toMatch(
        /^platter: [^\n]*(Input\/output error|I\/O error|cannot be flushed)[^\n]*\n$/i,
      );
      expect(readdirSync(work).filter((name) => name.includes(".platter-"))).toEqual([]);
      if (makes !== undefined) expect(readdirSync(work), where).not.toContain(makes);
      for (const image of images) {
        const { status: checked, stdout } = await qemuImg.attempt(["check", image], { cwd: work });
        expect([0, 3], `${where}: ${image}: ${stdout}`).toContain(checked);
      }
      if (same === undefined) continue;
      const args = ["compare", "-U", join("..", "clean", same), same];
      const compared = await qemuImg.attempt(args, { cwd: work });
      expect(compared.status, `${where}: ${same}: ${compared.stdout}`).toBe(0);
    }
  });

  test.for(making.filter(({ words }) => !/-n |notrunc/.test(words)))(
    "$words, whose name cannot be kept",
    async ({ words }) => {
      totals.runs++;
      const { status, stderr, injected } = await run(words, "1+", "fsync");
      expect(injected).toBeGreaterThan(0);
      totals.failed += injected;
      expect(status, stderr).toBe(1);
      expect(stderr).toMatch(/^platter: [^\n]*cannot be put in its place[^\n]*\n$/);
    },
  );
});
