/**
 * Errors of a real server: the image is on `nbdkit --filter=error`, seen as a file through nbdfuse, and
 * some of its reads, writes or flushes fail. No failed write or flush is swallowed, no failed read becomes
 * zeros; the image has no corruption afterwards and shows the guest the same.
 */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { temporaryDirectory } from "../qcow2/kit.ts";
import { describeFuse, imageMaker, expectOneError, runOurs, system } from "./kit.ts";
import { type Failing, ServedFile } from "./nbdkit.ts";

/** Commands that write to the image `served`; whether the guest sees something else afterwards. */
const writing: readonly (readonly [line: string, changes?: true])[] = [
  ["resize served 1G"],
  ["resize --shrink served 1M", true],
  ["rebase -b other -F qcow2 served"],
  ["rebase -b '' served"],
  ["rebase -u -b other -F qcow2 served", true],
  ["amend -o refcount_bits=64 served"],
  ["amend -o compat=0.10 served"],
  ["bitmap --add -g 512 served b1"],
  ["bitmap --remove served b0"],
  ["bitmap --merge b0 served b2"],
  ["check -r all served"],
  ["commit overlay", true],
  ["convert -t writeback -n -O qcow2 other served", true],
  ["convert -t writethrough -n -O qcow2 other served", true],
  ["bench -w -c 20 -f qcow2 served", true],
];

/** Commands that only read it. */
const reading = [
  "convert -O raw served new",
  "convert -O qcow2 served new",
  "convert -c -O qcow2 overlay new",
  "dd if=served of=new -f qcow2 -O raw bs=64k",
  "compare served whole",
  "check served",
  "map --output=json served",
  "info --backing-chain overlay",
  "measure -O qcow2 served",
];

const totals = { runs: 0, failed: 0, injected: 0 };
afterAll(() => {
  const { runs, failed, injected } = totals;
  process.stdout.write(
    `nbdkit: ${runs} runs, ${injected} errors injected, ${failed} ended with one\n`,
  );
});

describeFuse(["qemu-img", "qemu-io", "nbdkit", "nbdfuse"], "on nbdkit", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const clean = join(directory, "clean");
  const work = join(directory, "work");
  const cwd = { cwd: work };
  const image = join(directory, "image");

  beforeAll(async () => {
    mkdirSync(clean);
    mkdirSync(work);
    const here = { cwd: clean };
    const { create, write } = imageMaker(qemuImg, qemuIo, clean);
    for (const name of ["base", "other"]) await create(name);
    await write("base", "write -P 1 0 1M");
    await write("other", "write -P 4 0 600k");
    await create("served", "-b", "base", "-F", "qcow2");
    for (const name of ["b0", "b2"]) await qemuImg.run(["bitmap", "--add", "served", name], here);
    await write("served", "write -P 2 500k 500k", "write -z 700k 20k");
    await qemuImg.run(["convert", "-O", "raw", "served", "whole"], here);
    await create("overlay", "-b", "served", "-F", "qcow2");
    await write("overlay", "write -P 3 900k 300k");
    // The served file cannot grow.
    system("truncate", "-s", "8M", join(clean, "served"));
  });

  /** Runs a line with the image on a server, which fails while it runs. */
  async function run(line: string, failing: Failing, rate: number) {
    for (const name of readdirSync(work)) rmSync(join(work, name));
    for (const name of readdirSync(clean)) {
      copyFileSync(join(clean, name), name === "served" ? image : join(work, name));
    }
    totals.runs++;
    let outcome;
    let injected;
    {
      await using served = await ServedFile.start(work, "served", image, failing, rate);
      served.arm(true);
      outcome = await runOurs(line, work);
      injected = served.injected;
      served.arm(false);
    }
    totals.injected += injected;
    if (outcome.code !== 0) totals.failed++;
    copyFileSync(image, join(work, "served"));
    return { outcome, injected };
  }

  async function examine(where: string, changes: boolean): Promise<void> {
    for (const name of ["served", "base", "overlay"]) {
      const { status, stdout, stderr } = await qemuImg.attempt(["check", name], cwd);
      expect([0, 3], `${where}: ${name}: ${stdout}${stderr}`).toContain(status);
    }
    if (changes) return;
    const { status, stdout } = await qemuImg.attempt(["compare", "served", "whole"], cwd);
    expect(status, `${where}: ${stdout}`).toBe(0);
  }

  test.for(writing)("failing writes and flushes: %s", async ([line, changes = false]) => {
    const trials: Array<readonly [Failing, number]> = [["flush", 1]];
    for (let i = 0; i < 2 * inject("effort"); i++) trials.push(["pwrite", 0.3], ["pwrite", 0.1]);
    for (const [failing, rate] of [...trials, ["pwrite", 1] as const]) {
      const { outcome, injected } = await run(line, failing, rate);
      const where = `${failing} at ${rate}, ${injected} failed: ${outcome.stderr}`;
      if (injected > 0) expectOneError(outcome, "Input/output error");
      else expect(outcome.code, where).toBe(0);
      if (rate === 1) expect(injected, where).toBeGreaterThan(0);
      await examine(where, changes);
    }
  });

  test.for(reading)("failing reads: %s", async (line) => {
    for (const rate of [1, 0.5, 0.2]) {
      const { outcome } = await run(line, "pread", rate);
      // The system may have read it a second time, and found it.
      if (outcome.code !== 0) {
        // Opening an image that is compared ends with 2, reading it with 4.
        const codes = line.startsWith("compare") ? [2, 4] : [1];
        expect(codes).toContain(outcome.code);
        expectOneError(outcome, "Input/output error", outcome.code ?? undefined);
        expect(readdirSync(work)).not.toContain("new");
      } else if (line.includes(" new")) {
        const expected = line.includes("overlay") ? "overlay" : "whole";
        const { status, stdout } = await qemuImg.attempt(["compare", "new", expected], cwd);
        expect(status, `${rate}: ${stdout}`).toBe(0);
      }
      if (rate === 1) expect(outcome.code).not.toBe(0);
    }
  });
});
