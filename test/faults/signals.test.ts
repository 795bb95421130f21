/**
 * Ctrl-C and SIGTERM while a command works: it ends with the signal's exit code, what it had created is
 * gone, and what was there before is consistent and shows the guest the same.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { create, open } from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import { generator, temporaryDirectory } from "../qcow2/kit.ts";
import { imageNames, makeImages, runAndSignal, scenarios } from "./writing.ts";

/** Command lines of the friendly face that take a while, the file they make, and the one they change. */
const slow = [
  { words: "convert -r 2M -O qcow2 top new", makes: "new" },
  { words: "convert -r 2M -O raw top new", makes: "new" },
  { words: "convert -c -r 2M -O qcow2 top new", makes: "new" },
  { words: "convert -n -r 2M -O qcow2 top other", changes: "other" },
  { words: "commit -r 2M top", changes: "top" },
] as const;

const program = join(import.meta.dirname, "../../bin/platter.js");

describePeer(["qemu-img", "qemu-io"], "a command that is told to end", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const clean = join(directory, "clean");
  const work = join(directory, "work");
  const names = ["base", "top", "other"];

  beforeAll(async () => {
    mkdirSync(clean);
    const cwd = { cwd: clean };
    await qemuImg.run(["create", "-q", "-f", "qcow2", "base", "32M"], cwd);
    await qemuImg.run(
      ["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", "32M"],
      cwd,
    );
    await qemuImg.run(["create", "-q", "-f", "qcow2", "other", "32M"], cwd);
    await qemuIo.run(["-c", "write -P 1 0 20M", "base"], cwd);
    await qemuIo.run(["-c", "write -P 2 4M 24M", "top"], cwd);
  });

  test.for(
    slow.flatMap((one) => [
      { ...one, signal: "SIGINT", exit: 130 },
      { ...one, signal: "SIGTERM", exit: 143 },
    ]),
  )("$words, $signal", async ({ words, signal, exit, ...files }) => {
    rmSync(work, { recursive: true, force: true });
    mkdirSync(work);
    for (const name of names) copyFileSync(join(clean, name), join(work, name));
    const args = [program, ...words.split(" "), "--progress=json"];
    const child = spawn(process.execPath, args, { cwd: work, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (data: Buffer) => {
      // Once it says how far it is, it is in the middle of its work.
      if (said === "") child.kill(signal as NodeJS.Signals);
      said += data.toString();
    });
    const code = await new Promise((resolve) => child.once("exit", resolve));
    expect(code, said).toBe(exit);
    if ("makes" in files) expect(existsSync(join(work, files.makes))).toBe(false);
    for (const name of names) {
      const { status, stdout } = await qemuImg.attempt(["check", name], { cwd: work });
      expect([0, 3], `${name}: ${stdout}`).toContain(status);
    }
    const { status, stdout } = await qemuImg.attempt(["compare", "../clean/top", "top"], {
      cwd: work,
    });
    expect(status, stdout).toBe(0);
  });
});

const exits = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
const totals = { sent: 0, interrupted: 0, incomplete: 0 };
const next = generator(inject("seed") ?? Date.now());

afterAll(() => {
  const { sent, interrupted, incomplete } = totals;
  process.stdout.write(
    `signals: ${sent} sent, ${interrupted} commands interrupted by them, ${incomplete} of them said that a file ` +
      `may have been written in part\n`,
  );
});

describePeer(["qemu-img", "qemu-io"], "at any moment", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const clean = join(directory, "clean");
  const work = join(directory, "work");

  beforeAll(async () => {
    mkdirSync(clean);
    await makeImages(qemuImg, qemuIo, clean);
  });

  test.for(scenarios)("$words", async ({ words, images, same, makes }) => {
    let window: number | undefined;
    for (let trial = 0; trial <= 4 * inject("effort"); trial++) {
      rmSync(work, { recursive: true, force: true });
      mkdirSync(work);
      for (const name of imageNames) copyFileSync(join(clean, name), join(work, name));
      const names = Object.keys(exits) as (keyof typeof exits)[];
      const signal = names[next(names.length)]!;
      const share = next(1000) / 1000;
      const ended = await runAndSignal(program, words, work, share, window, signal);
      const where = `${signal} at ${share} of ${window} ms: ${ended.stderr}`;
      if (window === undefined) {
        expect(ended.code, where).toBe(0);
        window = Math.max(1, ended.window);
        continue;
      }
      totals.sent++;
      // It is done, in spite of the signal or when that has come while the process ended; or says in one line that it is not.
      const isDone = ended.code === 0 || ended.signal === signal;
      if (!isDone) expect(ended.code, where).toBe(exits[signal]);
      if (!isDone) {
        totals.interrupted++;
        const said = /^platter: interrupted\.(?: (\S+) may have been written in part\.)?\n$/.exec(
          ended.stderr,
        );
        expect(said, where).not.toBe(null);
        if (said?.[1] !== undefined) totals.incomplete++;
        // What differs for a guest is named.
        for (const name of imageNames) {
          const args = ["compare", "-U", join("..", "clean", name), name];
          const { status, stdout } = await qemuImg.attempt(args, { cwd: work });
          if (status !== 0) expect(said?.[1], `${where}: ${name}: ${stdout}`).toBe(name);
        }
      }
      const made = isDone && makes !== undefined ? [makes] : [];
      expect(readdirSync(work).toSorted(), where).toEqual([...imageNames, ...made].toSorted());
      for (const image of images) {
        const { status, stdout } = await qemuImg.attempt(["check", image], { cwd: work });
        expect([0, 3], `${where}: ${image}: ${stdout}`).toContain(status);
      }
      if (same === undefined) continue;
      const args = ["compare", "-U", join("..", "clean", same), same];
      const { status, stdout } = await qemuImg.attempt(args, { cwd: work });
      expect(status, `${where}: ${same}: ${stdout}`).toBe(0);
    }
  });

  test("some were interrupted", () => {
    expect(totals.interrupted).toBeGreaterThan(0);
  });
});

/** Runs a command and sends it signals when it says how far it is; resolves to how it ended. */
async function signalled(
  words: readonly string[],
  cwd: string,
  ...signals: readonly NodeJS.Signals[]
): Promise<{ readonly code: number | null; readonly stderr: string }> {
  const child = spawn(process.execPath, [program, ...words], {
    cwd,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (data: Buffer) => {
    if (stderr === "") for (const signal of signals) child.kill(signal);
    stderr += data.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stderr };
}

test("a terminal that is closed ends the work as Ctrl-C does", async () => {
  const directory = mkdtempSync(join(tmpdir(), "platter-signals-"));
  writeFileSync(join(directory, "disk"), new Uint8Array(4 << 20).fill(1));
  const words = "convert -r 500k -O qcow2 --progress=json disk new".split(" ");
  expect((await signalled(words, directory, "SIGHUP")).code).toBe(129);
  expect(readdirSync(directory)).toEqual(["disk"]);
  rmSync(directory, { recursive: true });
});

test("the second Ctrl-C ends at once, whatever the first one waits for", async () => {
  const directory = mkdtempSync(join(tmpdir(), "platter-signals-"));
  writeFileSync(join(directory, "disk"), new Uint8Array(4 << 20).fill(1));
  const words = "convert -r 500k -O qcow2 --progress=json disk new".split(" ");
  const { code, stderr } = await signalled(words, directory, "SIGINT", "SIGTERM");
  expect([130, 143]).toContain(code);
  // Nobody had the time to say it.
  expect(stderr).not.toContain("interrupted");
  rmSync(directory, { recursive: true });
});

test.each(["map --json disk", "map disk", "explain disk", "info --json disk", "--help"])(
  "a reader who has seen enough of %s is no error",
  async (line) => {
    const directory = mkdtempSync(join(tmpdir(), "platter-signals-"));
    const disk = await create({
      name: join(directory, "disk"),
      format: "qcow2",
      size: 1 << 30,
    }).then(() => open(join(directory, "disk"), { writable: true }));
    for (let at = 0; at < 1 << 27; at += 1 << 17) await disk.write(at, new Uint8Array([1]));
    await disk.close();
    const command = `"$0" "$@" | head -1 >/dev/null; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync(
      "bash",
      ["-c", command, process.execPath, program, ...line.split(" ")],
      { cwd: directory, encoding: "utf8" },
    );
    expect({ stdout, stderr }).toEqual({ stdout: "0\n", stderr: "" });
    rmSync(directory, { recursive: true });
  },
);
