/** `platter lab --guest` with a real QEMU, fio and Debian's kernel, as small as it gets. */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { GuestLabReport } from "../src/lab/index.ts";
import { runOurs } from "./cli/harness.ts";
import { describePeer } from "./peers.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-guest-lab-"));
afterAll(() => rmSync(directory, { recursive: true }));
const ours = (...words: string[]) => runOurs(words, { cwd: directory, program: "platter" });

describePeer("qemu-system-x86_64", "platter lab --guest", () => {
  it(
    "measures in a guest and leaves a report, and nothing else",
    { timeout: 300_000 },
    async () => {
      const words = ["--rounds", "1", "--quick", "--only", "qcow2 metadata"];
      const { code, stdout, stderr } = await ours("lab", "--guest", ...words, "out");
      expect(code, stderr).toBe(0);
      expect(stdout).toContain("Time in the guest, cache=none (medians)");
      expect(stdout).toContain("Only 1 rounds: too few to be sure of any difference");
      expect(readdirSync(join(directory, "out")).toSorted()).toEqual([
        "guest-report.html",
        "guest-report.json",
      ]);
      const text = readFileSync(join(directory, "out/guest-report.json"), "utf8");
      const report = JSON.parse(text) as GuestLabReport;
      const measure = report.measures[0]!;
      expect(Object.keys(measure.times)).toEqual(["qcow2 off", "qcow2 metadata"]);
      for (const byWorkload of Object.values(measure.times)) {
        expect(Object.keys(byWorkload).length).toBe(8);
        for (const [time] of Object.values(byWorkload)) expect(time).toBeGreaterThan(0);
      }
      // The guest has written: both files have grown, the preallocated one not in length.
      const grown = (label: string, what: "fileLength" | "allocated"): number => {
        const samples = measure.samples[label]!;
        return samples.at(-1)![what] - samples[0]![what];
      };
      expect(grown("qcow2 off", "fileLength")).toBeGreaterThan(20 * 2 ** 20);
      expect(grown("qcow2 metadata", "allocated")).toBeGreaterThan(20 * 2 ** 20);
      expect(grown("qcow2 metadata", "fileLength")).toBe(0);
    },
  );

  it.each([
    [["--only", "nonsense"], /There is no way called "nonsense"/],
    [["--kernel", "vmlinuz"], /give both or neither/],
    [["--rounds", "65"], /cannot do 65 rounds/],
    [["--size", "1G"], /--size cannot be combined with --guest/],
  ])("refuses %j in one line", async (words, message) => {
    const { code, stderr } = await ours("lab", "--guest", ...words, "none");
    expect(code).not.toBe(0);
    expect(stderr.split("\n")[0]).toMatch(message);
  });
});

it("has options that are for --guest only", async () => {
  const { stderr } = await ours("lab", "--quick");
  expect(stderr).toContain("--quick is for --guest.");
});
