/** `platter lab --guest` with a real guest, as small as it can be, and what it says where it cannot work. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { describePeer } from "../peers.ts";
import { guestParts } from "./guest-parts.ts";

const program = join(import.meta.dirname, "../../bin/platter.js");
const directory = mkdtempSync(join(tmpdir(), "platter-lab-guest-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const at = (name: string): string => join(directory, name);

function lab(words: readonly string[], more: NodeJS.ProcessEnv = {}) {
  const env = {
    ...process.env,
    // Kept from one run of the tests to the next, like the other parts of guests.
    XDG_CACHE_HOME: join(import.meta.dirname, "../../.cache/lab"),
    ...more,
  };
  return spawnSync(process.execPath, [program, "lab", ...words], { encoding: "utf8", env });
}

describePeer("qemu-system-x86_64", "platter lab --guest", () => {
  describe.skipIf(guestParts() === undefined)("with Debian's packages", () => {
    it("measures in a guest and leaves only its report", { timeout: 240_000 }, () => {
      const target = at("report");
      const { status, stdout, stderr } = lab(["--guest", "--quick", "--rounds", "1", target]);
      expect(status, stderr).toBe(0);
      expect(stdout).toContain("First write, 4 KiB at random, flushed each");
      expect(stdout).toContain("Only 1 rounds: too few");
      expect(readdirSync(target).toSorted()).toEqual(["report.html", "report.json"]);
      const report = JSON.parse(readFileSync(join(target, "report.json"), "utf8")) as {
        rounds: { disks: { label: string; times: Record<string, number>; cpu: number }[] }[];
        growth: { label: string; samples: { allocated: number }[] }[];
      };
      expect(report.rounds).toHaveLength(1);
      const disks = report.rounds[0]!.disks;
      expect(disks).toHaveLength(5);
      for (const { times, cpu } of disks) {
        expect(Object.values(times)).toHaveLength(5);
        expect(Object.values(times).every((time) => time > 0)).toBe(true);
        expect(cpu).toBeGreaterThan(0);
      }
      // 8 MiB in sequence and more at random have come to the host; what was reserved does not grow.
      const grown = (label: string): number => {
        const samples = report.growth.find((entry) => entry.label === label)!.samples;
        return samples.at(-1)!.allocated;
      };
      expect(grown("raw off")).toBeGreaterThan(8 * 2 ** 20);
      expect(grown("qcow2 off")).toBeGreaterThan(grown("qcow2 metadata"));
      expect(grown("qcow2 full")).toBeLessThan(66 * 2 ** 20);
      const page = readFileSync(join(target, "report.html"), "utf8");
      expect(page).not.toMatch(/<(script|link|img|iframe)|url\(|https?:\/\//);
      expect(page).not.toMatch(/undefined|NaN|Infinity|\[object/);
    });
  });

  it(
    "says that a system of the user's has no fio, and leaves nothing",
    { timeout: 240_000 },
    () => {
      const parts = guestParts();
      if (parts === undefined) return;
      writeFileSync(at("initrd"), "");
      const own = ["--kernel", parts.kernel, "--initrd", at("initrd")];
      const target = at("own");
      const { status, stderr } = lab(["--guest", "--quick", ...own, target]);
      expect(status).toBe(1);
      expect(stderr).toContain("The guest told 0 of 25 times");
      expect(readdirSync(target)).toEqual([]);
    },
  );
});

describe("what lab --guest refuses", () => {
  it.each([
    [["--guest", "--keep"], "--guest has no use for --keep"],
    [["--quick"], "only with --guest is there a --quick"],
    [["--guest", "--kernel", "x"], "--kernel and --initrd are given together"],
    [["--guest", "--size", "1M"], "a multiple of 1 MiB, from 64M up"],
    [["--guest", "--rounds", "0"], "cannot do 0 rounds"],
    [["--guest", "--size", "1P"], "the lab needs"],
  ])("%j", (words, message) => {
    const { status, stdout, stderr } = lab([...words, at("refused")]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toContain(message);
  });

  it("to do anything without QEMU", () => {
    const { status, stderr } = lab(["--guest", at("none")], { PATH: "/nonexistent" });
    expect(status).toBe(1);
    expect(stderr).toContain("qemu-system-x86_64 cannot be run: is it installed?");
    expect(readdirSync(at("none"))).toEqual([]);
  });
});
