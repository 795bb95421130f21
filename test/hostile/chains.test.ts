/**
 * Chains, and images that name files, with all that they name: what is opened is what qemu-img opens, and
 * with strace as the witness nothing else. Untrusted, nothing is.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create, info, map, open, type ImageInfo } from "../../src/index.ts";
import { hasPeer } from "../cli/harness.ts";
import { errorOf } from "../qcow2/kit.ts";
import { hostileImages } from "./all.ts";
import { hostileChains } from "./chains.ts";

const top = mkdtempSync(join(tmpdir(), "platter-chains-"));
afterAll(() => rmSync(top, { recursive: true, force: true }));
const hasStrace = spawnSync("strace", ["-V"]).status === 0;

/** Images of one file that name another. */
const naming = hostileImages.filter(({ name }) => /^(backing|data-file)-name-/.test(name));

beforeAll(async () => {
  const name = join(top, "sound");
  await create({ name, format: "qcow2", size: 2 ** 20 });
  {
    await using disk = await open(name, { writable: true });
    await disk.write(0, new Uint8Array(65_536).fill(7));
  }
  const sound = new Uint8Array(readFileSync(name));
  for (const chain of hostileChains) {
    mkdirSync(join(top, chain.name));
    chain.make(join(top, chain.name), sound);
  }
  for (const image of naming) {
    mkdirSync(join(top, image.name));
    writeFileSync(join(top, image.name, "top"), image.make(sound));
  }
});

const chainOf = (directory: string, untrusted: boolean): Promise<ImageInfo[]> =>
  info({ name: join(top, directory, "top"), backingChain: true }, { untrusted });

describe(`${hostileChains.length} hostile chains`, () => {
  for (const { name, code } of hostileChains) {
    it(`${name}: ${code}`, async () => {
      if (code === "ok") await expect(chainOf(name, false)).resolves.toHaveLength(2);
      else expect(await errorOf(opened(name))).toMatchObject({ code });
    });

    it(`${name}: nothing is opened when it is not trusted`, async () => {
      const error = await errorOf(opened(name, true));
      expect(error.code).toBe("E_REFERENCE_DENIED");
    });
  }
});

/** Opens a chain as commands do that need the data. */
async function opened(directory: string, untrusted = false): Promise<void> {
  const name = join(top, directory, "top");
  await map({ name }, { untrusted }).next();
}

describe.skipIf(!hasStrace || !hasPeer)("opened in the end", () => {
  const names = [...hostileChains, ...naming].map((one) => one.name);
  let segments = new Map<string, string>();

  beforeAll(() => {
    const program = [process.execPath, join(import.meta.dirname, "run-trusting.ts")];
    const directories = names.map((name) => join(top, name));
    const trace = traced([...program, ...directories], top);
    const parts = trace.split(/^.*"\/marker\/([^"]*)".*$/m).slice(1);
    segments = new Map(names.map((_, i) => [parts[2 * i]!, parts[2 * i + 1]!]));
  });

  for (const name of names) {
    it(`${name}: what qemu-img opens, and nothing else`, () => {
      const cwd = join(top, name);
      const theirs = namesIn(traced([...limited, "/usr/bin/qemu-img", "map", "top"], cwd), cwd);
      const ours = namesIn(segments.get(name)!, cwd);
      expect(ours).toContain("top");
      expect(ours.filter((file) => !theirs.includes(file))).toEqual([]);
    });
  }
});

/** qemu-img follows a loop until something ends: its files, its memory, or its time. */
const limited = ["timeout", "-s", "KILL", "10", "prlimit", "--nofile=400", "--data=1000000000"];

/** The files and sockets that a program asks for. */
function traced(program: readonly string[], cwd: string): string {
  const log = join(top, "strace");
  const words = ["-f", "-s", "4096", "-e", "trace=open,openat,openat2,connect", "-o", log];
  const { error } = spawnSync("strace", [...words, ...program], { cwd, timeout: 120_000 });
  if (error !== undefined) throw error;
  return readFileSync(log, "utf8");
}

/** What is no part of a program, nor of the system. */
function namesIn(trace: string, cwd: string): string[] {
  const repository = resolve(import.meta.dirname, "../..");
  const packages = realpathSync(join(repository, "node_modules"));
  const system = ["/usr/", "/lib", "/etc/", "/sys/", "/proc/self/maps", "/proc/sys/", "/dev/null"];
  const found = new Set<string>();
  for (const [, call, name] of trace.matchAll(/ (\w+)\([^"\n]*"((?:[^"\\]|\\.)*)"/g)) {
    const path = call === "connect" ? name! : resolve(cwd, name!);
    if ([repository, packages, ...system].some((start) => path.startsWith(start))) continue;
    found.add(relative(cwd, path));
  }
  return [...found];
}
