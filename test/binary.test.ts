/** The program that is one file: nothing is missing in it. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "platter-one-file-"));
const at = (name: string): string => join(directory, name);
const program = at("platter");
const cache = at("cache");
// Node is not there, and nothing of this checkout.
const env = { PATH: directory, HOME: directory, XDG_CACHE_HOME: cache };

const run = (words: readonly string[], as = program) => {
  const { status, stdout, stderr } = spawnSync(as, words, {
    cwd: directory,
    env,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
};

describe.skipIf(process.platform !== "linux")("the program that is one file", () => {
  beforeAll(() => {
    execFileSync(process.execPath, ["tools/binary.ts", program]);
    writeFileSync(at("text.raw"), "a line of text\n".repeat(1_000_000));
  }, 120_000);
  afterAll(() => rmSync(directory, { recursive: true }));

  it("knows who it is", () => {
    expect(run(["--version"])).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^platter \d/) as string,
    });
    symlinkSync(program, at("qemu-img"));
    expect(run(["--version"], at("qemu-img")).stdout).toMatch(/^qemu-img version 7\.2/);
    expect(run(["--help"], at("qemu-img")).status).toBe(0);
  });

  it.each(["zlib", "zstd"])("compresses with %s on threads, to the same bytes", (type) => {
    const words = [
      "convert",
      "-q",
      "-c",
      "-O",
      "qcow2",
      "-o",
      `compression_type=${type}`,
      at("text.raw"),
    ];
    expect(run([...words, "--threads", "2", at("one")])).toMatchObject({ status: 0, stderr: "" });
    execFileSync(process.execPath, ["bin/platter.js", ...words, at("two")]);
    expect(readFileSync(at("one")).equals(readFileSync(at("two")))).toBe(true);
    expect(run(["compare", at("text.raw"), at("one")])).toMatchObject({ status: 0 });
  });

  it("has holes, preallocation and locks", () => {
    expect(
      run(["create", "-q", "-f", "qcow2", "-o", "preallocation=falloc", at("full"), "8M"]),
    ).toEqual({
      status: 0,
      stdout: "",
      stderr: "",
    });
    expect(statSync(at("full")).blocks * 512).toBeGreaterThan(8 * 2 ** 20);
    expect(run(["du", "--json", at("full")]).stdout).toContain('"falloc"');
  });

  it("encrypts", () => {
    const secret = ["--object", "secret,id=key,data=a secret"];
    const options = ["-f", "luks", "-o", "key-secret=key,iter-time=10"];
    expect(run(["create", "-q", ...secret, ...options, at("luks"), "1M"])).toMatchObject({
      status: 0,
    });
  });

  it("leaves nothing behind", () => {
    expect(readdirSync(cache)).toEqual([]);
  });
});
