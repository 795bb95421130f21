import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { FileMove } from "../codec/index.ts";
import { fileMovers } from "./file-movers.ts";
import { watchThreads } from "./watch-threads.test-kit.ts";

const MiB = 2 ** 20;
const directory = mkdtempSync(join(tmpdir(), "platter-movers-"));
const [source, target] = [join(directory, "source"), join(directory, "target")];
const length = 96 * MiB;
const unit = 65_536;
const bytes = new Uint8Array(length);
let from = -1;
let to = -1;

beforeAll(() => {
  for (let at = 0; at < length; at += unit)
    if ((at / unit) % 5 !== 0) bytes.fill(at / unit, at, at + unit);
  writeFileSync(source, bytes);
  from = openSync(source, "r");
  to = openSync(target, "w+");
});
afterAll(() => {
  closeSync(from);
  closeSync(to);
  rmSync(directory, { recursive: true, force: true });
});

/** As many segments as a thread is started for. */
const move = (): FileMove => ({
  segments: Array.from({ length: length / (2 * MiB) }, (_, i) => ({
    start: i * 2 * MiB,
    end: (i + 1) * 2 * MiB,
    parts: [{ descriptor: from, offset: i * 2 * MiB, length: 2 * MiB, at: 0 }],
  })),
  sparse: 4096,
  unit,
  target: to,
  placing: "fixed",
  offset: 0,
});

const { started, ended } = watchThreads();

test("threads join as soon as they are there, and end", async () => {
  const movers = fileMovers(3);
  try {
    // The threads are there for the second move at the latest, and for the last one from its start.
    for (let i = 0; i < 3; i++) {
      const seen: number[] = [];
      const { stored = [] } = await movers.move(move(), {
        onProgress: (segments) => seen.push(segments),
      });
      expect(stored.reduce((sum, run) => sum + run.end - run.start, 0)).toBeGreaterThan(length / 2);
      expect(stored.map(({ start }) => start)).toEqual(
        stored.map(({ start }) => start).toSorted((a, b) => a - b),
      );
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(readFileSync(target).equals(bytes.subarray(0, readFileSync(target).length))).toBe(true);
    expect(started).toHaveLength(2);
  } finally {
    await movers.close();
  }
  expect(ended.size).toBe(2);
});

test("a move that is cancelled ends for all threads", async () => {
  const movers = fileMovers(2);
  await movers.move(move(), {});
  const controller = new AbortController();
  const onProgress = (): void => controller.abort();
  const moving = movers.move(move(), { signal: controller.signal, onProgress });
  await expect(moving).rejects.toMatchObject({ code: "E_ABORTED" });
  await movers.close();
  expect(ended.size).toBe(started.length);
});

test("a thread that is killed ends the move with one error", async () => {
  const movers = fileMovers(2);
  await movers.move(move(), {});
  const moving = movers.move(move(), {});
  await started.at(-1)!.terminate();
  await expect(moving).rejects.toMatchObject({ code: "E_IO" });
  await expect(movers.move(move(), {})).rejects.toMatchObject({ code: "E_IO" });
  await movers.close();
  expect(ended.size).toBe(started.length);
});

test("what is small needs no thread", async () => {
  const movers = fileMovers(4);
  const whole = move();
  await movers.move({ ...whole, segments: whole.segments.slice(0, 4) }, {});
  expect(started).toHaveLength(0);
  await movers.close();
});
