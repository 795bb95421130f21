/**
 * The other way round: what QEMU's programs, and another Platter, may do with images that one of our commands
 * has open is what they may do when qemu-img is in its place.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { open, PlatterError } from "../src/index.ts";
import { systemLibc } from "../src/host/index.ts";
import { peer, runOurs, wordsOf } from "./cli/harness.ts";
import { havePrograms, requireInCi, temporaryDirectory } from "./host-peer.ts";

const programs = ["qemu-img", "qemu-io", "qemu-nbd"] as const;
const able = havePrograms(...programs) && systemLibc().libc !== undefined;
requireInCi(...programs);

const directory = temporaryDirectory();
const clean = join(directory, "clean");
const sides = {
  theirs: { program: "/usr/bin/qemu-img", cwd: join(directory, "theirs") },
  ours: { program: join(directory, "qemu-img"), cwd: join(directory, "ours") },
} as const;

const preparation = [
  "qemu-img create -q -f raw base.raw 8M",
  "qemu-img create -q -f qcow2 -b base.raw -F raw mid.qcow2 8M",
  "qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 8M",
  "qemu-img create -q -f qcow2 -o data_file=data.raw ext.qcow2 8M",
  "qemu-img create -q -f qcow2 target.qcow2 8M",
  "qemu-img create -q -f raw target.raw 8M",
  "qemu-io -c write_0_6M top.qcow2",
  "qemu-io -c write_0_6M ext.qcow2",
];

/** Command lines that take until they are ended: they copy slowly, or send very many requests. */
const holding = [
  "bench -f qcow2 -c 100000000 top.qcow2",
  "bench -f qcow2 -c 100000000 -U top.qcow2",
  "bench -f qcow2 -w -c 100000000 top.qcow2",
  "bench -f qcow2 -w -c 100000000 ext.qcow2",
  "bench -f raw -w -c 100000000 target.raw",
  "convert -p -r 512k -O qcow2 top.qcow2 new.qcow2",
  "convert -p -U -r 512k -O qcow2 top.qcow2 new.qcow2",
  "convert -p -r 512k -O raw ext.qcow2 new.raw",
  "convert -p -n -r 512k -O qcow2 top.qcow2 target.qcow2",
  "convert -p -n -r 512k -O raw top.qcow2 target.raw",
  "commit -p -r 512k top.qcow2",
];

/** The files that are involved where an image is named. */
const chains: Readonly<Record<string, readonly string[]>> = {
  "top.qcow2": ["top.qcow2", "mid.qcow2", "base.raw"],
  "ext.qcow2": ["ext.qcow2", "data.raw"],
  "target.qcow2": ["target.qcow2"],
  "target.raw": ["target.raw"],
};

/** What others then try, with each of the files. */
const attempts = (file: string): readonly (readonly string[])[] => {
  const format = file.endsWith(".raw") ? "raw" : "qcow2";
  return [
    ["qemu-img", "info", "-f", format, file],
    ["qemu-img", "check", "-U", "-f", "qcow2", file],
    ["qemu-img", "resize", "-q", "-f", format, file, "9M"],
    ["qemu-io", "-r", "-f", format, "-c", "read 0 512", file],
    ["qemu-io", "-U", "-r", "-f", format, "-c", "read 0 512", file],
    ["qemu-io", "-f", format, "-c", "flush", file],
  ];
};

beforeAll(() => {
  if (!able) return;
  mkdirSync(clean);
  symlinkSync(join(import.meta.dirname, "../bin/platter.js"), sides.ours.program);
  for (const line of preparation) {
    const [program = "", ...words] = line.split(" ").map((word) => word.replaceAll("_", " "));
    const fixed = words.map((word) => (word.startsWith("data file") ? "data_file=data.raw" : word));
    const { status, stderr } = spawnSync(program, fixed, { cwd: clean, encoding: "utf8" });
    if (status !== 0) throw new Error(`${line}: ${stderr}`);
  }
});

/** Starts a command and resolves when it says that it is at work. */
async function started(line: string, { program, cwd }: { program: string; cwd: string }) {
  rmSync(cwd, { recursive: true, force: true });
  mkdirSync(cwd);
  for (const name of readdirSync(clean)) copyFileSync(join(clean, name), join(cwd, name));
  const child = spawn(program, wordsOf(line), { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  const listen = (data: Buffer): void => void (said += data.toString());
  child.stdout.on("data", listen);
  child.stderr.on("data", listen);
  // The first of the data has been copied; or, where the output waits in a buffer, the images are locked.
  const isAtWork = (): boolean =>
    line.includes(" -p") ? /\((?!0\.00)[\d.]+\/100%\)/.test(said) : locksOf(child.pid) > 0;
  const end = Date.now() + 20_000;
  while (!isAtWork()) {
    if (child.exitCode !== null || Date.now() > end) {
      child.kill("SIGKILL");
      throw new Error(`${line}: ${said}`);
    }
    await sleep(20);
  }
  if (!line.includes(" -p")) await sleep(200);
  return child;
}

/** How many locks a process holds. */
function locksOf(pid: number | undefined): number {
  const fdinfo = `/proc/${pid}/fdinfo`;
  try {
    return readdirSync(fdinfo)
      .map((fd) => readFileSync(join(fdinfo, fd), "utf8").match(/^lock:/gm)?.length ?? 0)
      .reduce((sum, count) => sum + count, 0);
  } catch {
    return 0;
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

/** What became of an attempt: whether it was a lock, and which. */
function outcomeOf([program = "", ...words]: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(program, words, {
    cwd,
    encoding: "utf8",
    timeout: 20_000,
  });
  const lock = /Failed to (?:get|lock).*/.exec(stdout + stderr)?.[0];
  return lock ?? (status === 0 ? "done" : `not done: ${stderr.split("\n")[0]}`);
}

describe.skipIf(!able)("while a command has images open", () => {
  test.each(holding)("%s", async (line) => {
    const children: ChildProcess[] = [];
    try {
      const outcomes: Record<string, Record<string, string>> = {};
      for (const [side, place] of Object.entries(sides)) {
        const child = await started(line, place);
        children.push(child);
        const found: Record<string, string> = {};
        const files = Object.entries(chains).flatMap(([name, chain]) =>
          line.includes(name) ? chain : [],
        );
        for (const file of files) {
          for (const words of attempts(file)) found[words.join(" ")] = outcomeOf(words, place.cwd);
        }
        expect(child.exitCode).toBe(null);
        await ended(child);
        outcomes[side] = found;
      }
      if (line.includes("-w") && line.includes("ext.qcow2")) {
        // QEMU lets others write to the data of an image that it writes itself; we do not.
        const flush = outcomes["theirs"]?.["qemu-io -f raw -c flush data.raw"];
        expect(flush).toBe("done");
        outcomes["theirs"] = Object.fromEntries(
          Object.entries(outcomes["theirs"] ?? {}).map(([words, outcome]) => [
            words,
            /^(qemu-io -f raw -c flush|qemu-img resize .*) data.raw/.test(words)
              ? 'Failed to get "write" lock'
              : outcome,
          ]),
        );
      }
      expect(outcomes["ours"]).toEqual(outcomes["theirs"]);
    } finally {
      for (const child of children) await ended(child);
    }
  });

  test("another Platter is told what qemu-img is told", async () => {
    const child = await started("bench -f qcow2 -w -c 100000000 top.qcow2", sides.ours);
    try {
      const { cwd } = sides.ours;
      for (const line of [
        "info top.qcow2",
        "info -U top.qcow2",
        "check top.qcow2",
        "map -U top.qcow2",
        "resize top.qcow2 9M",
        "convert -O raw top.qcow2 new.raw",
        "snapshot -c s top.qcow2",
        "commit top.qcow2",
        "rebase -u -b '' top.qcow2",
      ]) {
        const words = wordsOf(line);
        const [theirs, ours] = [peer(words, cwd), await runOurs(words, { cwd })];
        expect([line, ours.code, ours.stderr]).toEqual([line, theirs.code, theirs.stderr]);
      }
    } finally {
      await ended(child);
    }
  });
});

describe.skipIf(!able)("in one process", () => {
  const image = join(directory, "clean", "target.qcow2");
  const refused = async (options: Parameters<typeof open>[1]): Promise<string> => {
    try {
      await (await open(image, options)).close();
      return "granted";
    } catch (error) {
      if (error instanceof PlatterError) return error.code;
      throw error;
    }
  };

  test("who opens an image twice is treated as two programs", async () => {
    const reader = await open(image);
    expect(await refused({})).toBe("granted");
    expect(await refused({ writable: true })).toBe("E_LOCKED");
    await reader.close();
    const writer = await open(image, { writable: true });
    expect(await refused({})).toBe("E_LOCKED");
    expect(await refused({ lock: "shared" })).toBe("granted");
    expect(await refused({ writable: true })).toBe("E_LOCKED");
    // The locks are there to the end, whatever else was opened and closed meanwhile.
    expect(peer(["check", image]).stderr).toContain('Failed to get shared "write" lock');
    await writer.close();
    expect(peer(["check", image]).code).toBe(0);
    expect(await refused({ writable: true })).toBe("granted");
  });
});
