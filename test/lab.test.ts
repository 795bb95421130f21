/** The lab from start to end on small disks: what it leaves, and what it does not leave. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Progress } from "../src/index.ts";
import { fileProvider, nodeCodecs } from "../src/host/index.ts";
import { lab, spaceNeeded, type LabEvent, type LabOptions } from "../src/lab/index.ts";
import { codeOf } from "./codes.ts";

const program = join(import.meta.dirname, "../bin/platter.js");

const MiB = 2 ** 20;
const directory = mkdtempSync(join(tmpdir(), "platter-lab-test-"));
const tree = join(directory, "files");
afterAll(() => rmSync(directory, { recursive: true, force: true }));
beforeAll(() => {
  mkdirSync(join(tree, "a/b"), { recursive: true });
  writeFileSync(join(tree, "one"), new Uint8Array(300_000).fill(1));
  writeFileSync(join(tree, "a/b/two <b>&"), new Uint8Array(500_000).fill(2));
});

const context = (signal?: AbortSignal) => ({
  provider: fileProvider(),
  codecs: nodeCodecs,
  signal,
});
const options = (name: string): LabOptions => ({
  directory: join(directory, name),
  size: 16 * MiB,
  rounds: 2,
  tree,
});

describe("the lab", () => {
  it("tells the whole story and leaves only its report", async () => {
    const events: LabEvent["kind"][] = [];
    const progress: number[] = [];
    const onProgress = ({ done }: Progress): void => {
      progress.push(done);
    };
    const { report, json, html, images } = await lab(
      options("story"),
      { ...context(), onProgress },
      ({ kind }) => events.push(kind),
    );
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(progress.every((done) => Number.isInteger(done))).toBe(true);
    expect(progress.at(-1)).toBe(1000);
    expect(events).toEqual(["created", "filled", "converted"]);
    expect(images).toBeUndefined();
    expect(readdirSync(join(directory, "story")).toSorted()).toEqual([
      "report.html",
      "report.json",
    ]);

    const modes = ["off", "falloc", "full", "off", "metadata", "falloc", "full"];
    expect(report.empty.images.map(({ preallocation }) => preallocation)).toEqual(modes);
    expect(report.written.images.map(({ preallocation }) => preallocation)).toEqual([
      ...modes,
      "off",
    ]);
    expect(report.conversion.identical).toBe(true);
    expect(report.filled.tree).toMatchObject({ files: 2, bytes: 800_000 });
    const contents = report.written.images.map(({ nonZero }) => nonZero!.bytes);
    expect(contents[0]).toBeGreaterThan(800_000);
    expect(new Set(contents).size).toBe(1);
    for (const byWorkload of Object.values(report.writes.times)) {
      for (const times of Object.values(byWorkload)) expect(times).toHaveLength(2);
    }
    expect(report.conclusions.length).toBeGreaterThan(8);
    expect(JSON.parse(readFileSync(json, "utf8"))).toEqual(JSON.parse(JSON.stringify(report)));

    const page = readFileSync(html, "utf8");
    // Self-contained: nothing is loaded from anywhere.
    expect(page).not.toMatch(/<(script|link|img|iframe)|url\(|https?:\/\//);
    expect(page).not.toMatch(/undefined|NaN|\[object/);
    for (const name of ["raw-full.img", "qcow2-metadata.qcow2", "converted.qcow2"]) {
      expect(page).toContain(name);
    }
  });

  it("keeps the images when asked", async () => {
    const { images } = await lab({ ...options("kept"), rounds: 1, keep: true }, context());
    expect(readdirSync(images!)).toContain("qcow2-falloc.qcow2");
    expect(readdirSync(images!)).toContain("converted.qcow2");
  });

  it.each(["created", "filled", "converted"] as const)(
    "cleans up when it is cancelled after %s",
    async (kind) => {
      const controller = new AbortController();
      const run = lab(options(`cancelled-${kind}`), context(controller.signal), (event) => {
        if (event.kind === kind) controller.abort();
      });
      expect(await codeOf(run)).toBe("E_ABORTED");
      expect(readdirSync(join(directory, `cancelled-${kind}`))).toEqual([]);
    },
  );

  it("refuses what cannot work before it makes anything", async () => {
    const huge = { ...options("huge"), size: 2 ** 50 };
    expect(spaceNeeded(huge.size)).toBeGreaterThan(4 * huge.size);
    expect(await codeOf(lab(huge, context()))).toBe("E_NO_SPACE");
    expect(readdirSync(huge.directory)).toEqual([]);
    for (const size of [15 * MiB, 16 * MiB + 1, 0.5, Number.NaN]) {
      expect(await codeOf(lab({ ...options("odd"), size }, context()))).toBe("E_INVALID_SIZE");
    }
    for (const rounds of [0, -1, 1.5, 5000]) {
      expect(await codeOf(lab({ ...options("odd"), rounds }, context()))).toBe(
        "E_INVALID_ARGUMENT",
      );
    }
    const missing = { ...options("missing"), tree: join(directory, "nothing") };
    expect(await codeOf(lab(missing, context()))).toBe("E_NOT_FOUND");
    expect(readdirSync(missing.directory)).toEqual([]);
  });

  it("is a command that prints the story, or the report as JSON", () => {
    const words = ["lab", "--size", "16M", "--rounds", "1", "--tree", tree, join(directory, "cli")];
    const told = spawnSync(process.execPath, [program, ...words], { encoding: "utf8" });
    expect({ stderr: told.stderr, status: told.status }).toEqual({ stderr: "", status: 0 });
    for (const part of [
      "qcow2 metadata",
      "converted.qcow2",
      "What the numbers say",
      "report.html",
    ]) {
      expect(told.stdout).toContain(part);
    }
    const json = spawnSync(process.execPath, [program, ...words, "--json"], { encoding: "utf8" });
    expect(JSON.parse(json.stdout)).toMatchObject({ report: "platter lab", diskSize: 16 * MiB });
    const wrong = spawnSync(process.execPath, [program, "lab", "--rounds", "x"], {
      encoding: "utf8",
    });
    expect(wrong).toMatchObject({ status: 1, stdout: "" });
    expect(wrong.stderr).toContain("--rounds takes a whole number");
  });

  it("cleans up on Ctrl-C", async () => {
    const target = join(directory, "interrupted");
    const words = ["lab", "--size", "64M", "--rounds", "200", "--tree", tree, target];
    const child = spawn(process.execPath, [program, ...words], { stdio: "ignore" });
    const exit = once(child, "exit");
    const isWorking = (): boolean => {
      try {
        return readdirSync(target).length > 0;
      } catch {
        return false;
      }
    };
    while (!isWorking() && child.exitCode === null)
      await new Promise((done) => setTimeout(done, 20));
    child.kill("SIGINT");
    expect(await exit).toEqual([130, null]);
    expect(readdirSync(target)).toEqual([]);
  });
});
