/**
 * Short reads and writes, which the system may answer with at any time: each call moves less than it was
 * asked to, and nothing of what comes out differs. And a limit on the length of files (`ulimit -f`), where
 * the last write that fits is a short one.
 */
import { spawnSync } from "node:child_process";
import type * as realFs from "node:fs";
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { describePeer } from "../peers.ts";
import { temporaryDirectory } from "../qcow2/kit.ts";
import { wordsOf } from "../cli/harness.ts";
import { expectOneError, program, runOurs } from "./kit.ts";

/** How often the system moved less than it was asked to. */
const short = vi.hoisted(() => ({ reads: 0, writes: 0, on: false }));

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof realFs>();
  const less = (length: number, kind: "reads" | "writes"): number => {
    if (!short.on || length < 2) return length;
    short[kind]++;
    return 1 + ((length * 7919) % (length - 1));
  };
  type Rest = [offset: number, length: number, ...others: unknown[]];
  const shorten =
    (call: (...args: never[]) => unknown, kind: "reads" | "writes") =>
    (fd: number, bytes: Uint8Array, ...[offset, length, ...others]: Rest): unknown =>
      (call as (...args: unknown[]) => unknown)(fd, bytes, offset, less(length, kind), ...others);
  return {
    ...fs,
    read: shorten(fs.read, "reads"),
    readSync: shorten(fs.readSync, "reads"),
    write: shorten(fs.write, "writes"),
    writeSync: shorten(fs.writeSync, "writes"),
  };
});

describePeer(["qemu-img", "qemu-io"], "short reads and writes", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const cwd = { cwd: directory };
  const at = (name: string): string => join(directory, name);

  beforeAll(async () => {
    await qemuImg.run(["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "base", "2M"], cwd);
    await qemuIo.run(["-c", "write -P 7 100k 900k", "base"], cwd);
    await qemuImg.run(["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top"], cwd);
    await qemuIo.run(["-c", "write -P 8 700k 700k", "top"], cwd);
  });

  afterAll(() => {
    const { reads, writes } = short;
    process.stdout.write(`short calls: ${reads} reads, ${writes} writes moved less than asked\n`);
  });

  test("nothing is missing", async () => {
    for (const [line, made] of [
      ["convert -O qcow2 top new", "new"],
      ["convert -c -O qcow2 top packed", "packed"],
      ["convert -O raw top raw", "raw"],
      ["convert -O qcow2 packed unpacked", "unpacked"],
      ["dd if=top of=copied -f qcow2 -O qcow2 bs=64k", "copied"],
      ["compare top raw", "raw"],
      ["check packed", "packed"],
      ["rebase -b '' top", "top"],
      ["snapshot -c s top", "top"],
      ["resize raw +1M", "raw"],
    ] as const) {
      if (!existsSync(at("kept"))) copyFileSync(at("top"), at("kept"));
      short.on = true;
      const { code, stderr } = await runOurs(line, directory);
      short.on = false;
      expect(code, `${line}: ${stderr}`).toBe(0);
      const { status, stdout } = await qemuImg.attempt(["compare", "kept", made], cwd);
      expect(status, `${line}: ${stdout}`).toBe(0);
    }
    expect(short.reads).toBeGreaterThan(50);
    expect(short.writes).toBeGreaterThan(50);
  });

  test.each([
    "convert -O raw kept limited",
    "convert -O qcow2 kept limited",
    "create -f raw -o preallocation=full limited 4M",
    "dd if=kept of=limited -f qcow2 -O raw bs=64k",
    "convert -n -O qcow2 kept old",
    "commit kept",
  ])("a limit on the length: %s", async (line) => {
    copyFileSync(at("base"), at("old"));
    const words = [process.execPath, program, ...wordsOf(line)];
    const { status, stdout, stderr } = spawnSync(
      "sh",
      ["-c", 'ulimit -f 600; exec "$@"', "sh", ...words],
      { cwd: directory, encoding: "utf8" },
    );
    expectOneError(
      { code: status, stdout, stderr },
      /File too large|larger than .* the system allows/,
    );
    expect(existsSync(at("limited"))).toBe(false);
    for (const name of ["old", "base"]) {
      const { status: clean, stdout: said } = await qemuImg.attempt(["check", name], cwd);
      expect([0, 3], said).toContain(clean);
    }
  });
});
