/**
 * Ctrl-C and SIGTERM while a command works: it ends with the signal's exit code, what it had created is
 * gone, and what was there before is consistent and shows the guest the same.
 */
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { describePeer } from "../peers.ts";
import { temporaryDirectory } from "../qcow2/kit.ts";

/** Command lines of the friendly face that take a while, the file they make, and the one they change. */
const scenarios = [
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
    scenarios.flatMap((one) => [
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
