/** Conversions on several threads: the same bytes for any number, and nothing left when they end badly. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { convert } from "../src/index.ts";
import { watchThreads } from "../src/host/watch-threads.test-kit.ts";
import { describePeer } from "./peers.ts";

const MiB = 2 ** 20;
const directory = mkdtempSync(join(tmpdir(), "platter-threads-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const path = (name: string): string => join(directory, name);

/** Text, noise, zeros and holes, in pieces that do not lie at clusters. */
function makeSource(): void {
  const bytes = new Uint8Array(30 * MiB + 700 * 512);
  let state = 7;
  for (let at = 0, piece = 0; at < bytes.length; piece++) {
    const length = 100_000 + (piece % 9) * 37_000;
    for (let i = at; i < Math.min(bytes.length, at + length); i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      if (piece % 4 === 0) bytes[i] = state >>> 24;
      else if (piece % 4 !== 3) bytes[i] = 65 + ((i >> 3) % 23) + (state >>> 31);
    }
    at += length;
  }
  writeFileSync(path("source.raw"), bytes);
}
makeSource();

const digest = (file: string): string =>
  createHash("sha256")
    .update(readFileSync(path(file)))
    .digest("hex");

const { started: threads, ended } = watchThreads();

describePeer("qemu-img@7.2", "the same bytes for any number of threads", (qemuImg) => {
  const kinds = [
    ["zlib", []],
    ["zstd", []],
    ["zstd", ["cluster_size=4096"]],
    ["zlib", ["cluster_size=2M"]],
    ["zlib", ["extended_l2=on"]],
  ] as const;
  it.each(kinds)("%s %o", async (type, more) => {
    const options = [`compression_type=${type}`, ...more].join(",");
    const digests = new Set<string>();
    for (const [threadCount, memory] of [
      [1, 128 * MiB],
      [2, 8 * MiB],
      [3, 128 * MiB],
      [8, 40 * MiB],
    ] as const) {
      await convert({
        sources: [path("source.raw")],
        target: path("packed.qcow2"),
        targetFormat: "qcow2",
        targetOptions: Object.fromEntries(
          options.split(",").map((option) => {
            const [name = "", value = ""] = option.split("=");
            if (name === "cluster_size") return [name, value === "2M" ? 2 * MiB : Number(value)];
            return [name, value === "on" ? true : value];
          }),
        ),
        compress: true,
        threads: threadCount,
        memory,
      });
      digests.add(digest("packed.qcow2"));
    }
    expect(digests.size).toBe(1);
    expect(ended.size).toBe(threads.length);
    await qemuImg.run(["check", "-q", path("packed.qcow2")]);
    await qemuImg.run(["compare", "-q", path("source.raw"), path("packed.qcow2")]);
    // And back, by both.
    await convert({
      sources: [path("packed.qcow2")],
      target: path("back.raw"),
      targetFormat: "raw",
      threads: 3,
    });
    expect(digest("back.raw")).toBe(digest("source.raw"));
  });

  it("the program as it is built finds its threads", async () => {
    const program = new URL("../bin/platter.js", import.meta.url).pathname;
    const convertWith = (threadCount: string): string => {
      const words = ["convert", "-q", "-c", "-O", "qcow2", "--threads", threadCount];
      const target = `built${threadCount}.qcow2`;
      const { status, stderr } = spawnSync(
        process.execPath,
        [program, ...words, path("source.raw"), path(target)],
        { encoding: "utf8" },
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      return digest(target);
    };
    expect(convertWith("3")).toBe(convertWith("1"));
  });

  it("a level of compression, by name", async () => {
    const sizes: number[] = [];
    for (const level of [1, 9]) {
      await convert({
        sources: [path("source.raw")],
        target: path(`level${level}.qcow2`),
        targetFormat: "qcow2",
        compress: true,
        compressionLevel: level,
      });
      await qemuImg.run(["compare", "-q", path("source.raw"), path(`level${level}.qcow2`)]);
      sizes.push(statSync(path(`level${level}.qcow2`)).size);
    }
    expect(sizes[1]).toBeLessThan(sizes[0]!);
  });
});

describe("a conversion that ends badly leaves no thread and no image", () => {
  const run = (target: string, signal?: AbortSignal): Promise<unknown> =>
    convert(
      {
        sources: [path("source.raw")],
        target,
        targetFormat: "qcow2",
        compress: true,
        threads: 2,
      },
      signal === undefined ? {} : { signal },
    );

  it("a thread is killed", async () => {
    const target = path("killed.qcow2");
    process.once("worker", (worker) => void worker.once("online", () => void worker.terminate()));
    await expect(run(target)).rejects.toMatchObject({ code: "E_IO" });
    expect(existsSync(target)).toBe(false);
    expect(threads.length).toBeGreaterThan(0);
    expect(ended.size).toBe(threads.length);
  });

  it("it is cancelled", async () => {
    const target = path("cancelled.qcow2");
    const controller = new AbortController();
    process.once("worker", (worker) => void worker.once("online", () => controller.abort()));
    await expect(run(target, controller.signal)).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(existsSync(target)).toBe(false);
    expect(ended.size).toBe(threads.length);
  });

  it("the target cannot be made", async () => {
    mkdirSync(path("taken"), { recursive: true });
    await expect(run(path("taken"))).rejects.toMatchObject({ code: expect.any(String) });
    expect(ended.size).toBe(threads.length);
  });
});
