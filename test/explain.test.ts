/** `explain` beside `stat`, for images that QEMU made: what it lists has to add up. */
import {
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { explain, type ExplainResult, type FilePart } from "../src/index.ts";
import { describePeer } from "./peers.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

describePeer(["qemu-img@7.2", "qemu-io"], "explain", (qemuImg, qemuIo) => {
  const directory = mkdtempSync(join(tmpdir(), "platter-explain-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const path = (name: string): string => join(directory, name);

  async function make(name: string, format: string, options: string, size = "64M"): Promise<void> {
    const words = options === "" ? [] : ["-o", options];
    await qemuImg.run(["create", "-q", "-f", format, ...words, path(name), size]);
  }

  const io = async (name: string, ...commands: string[]): Promise<void> => {
    await qemuIo.run([...commands.flatMap((command) => ["-c", command]), path(name)]);
  };

  /** Explains, and compares the sums with `stat`. */
  async function explained(name: string): Promise<ExplainResult> {
    const result = await explain({ name: path(name), width: 50 });
    const { size, blocks } = statSync(path(name));
    expect(result.fileLength).toBe(size);
    expect(result.allocated).toBe(blocks * 512);
    expect(result.parts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(size);
    const allocated = result.parts.reduce((sum, part) => sum + part.allocated!, 0);
    expect(allocated + result.overhead!).toBe(blocks * 512);
    expect(result.overhead).toBeGreaterThanOrEqual(0);
    expect(result.overhead).toBeLessThan(256 * KiB);
    return result;
  }

  const bytesOf = (result: ExplainResult, part: FilePart): number =>
    result.parts.find((found) => found.part === part)?.bytes ?? 0;

  it.each([
    ["raw", "off", "holes"],
    ["raw", "falloc", "preallocated and unwritten"],
    ["raw", "full", "data"],
    ["qcow2", "off", "data"],
    ["qcow2", "metadata", "preallocated on a hole"],
    ["qcow2", "falloc", "preallocated and unwritten"],
    ["qcow2", "full", "data"],
  ] as const)("adds up for %s with preallocation=%s", async (format, mode, main) => {
    const name = `${format}-${mode}`;
    await make(name, format, `preallocation=${mode}`);
    const empty = await explained(name);
    const size = mode === "off" && format === "qcow2" ? 0 : 64 * MiB;
    expect(Math.abs(bytesOf(empty, main) - size)).toBeLessThanOrEqual(4096);
    await io(name, "write -P 7 8M 4M", "write -P 7 40M 1M");
    const after = await explained(name);
    expect(bytesOf(after, "data")).toBeGreaterThanOrEqual(5 * MiB);
    expect(after.fileStrip).toHaveLength(50);
    expect(after.diskStrip[Math.floor((10 / 64) * 50)]).toBe(4);
  });

  it("knows every kind of cluster", async () => {
    await make("kinds", "qcow2", "");
    await io(
      "kinds",
      "write -P 1 0 1M",
      "write -P 2 2M 512k",
      "write -z 2M 128k",
      "write -P 3 4M 256k",
      "discard 4M 64k",
    );
    await qemuIo.run(["-c", "write -c -P 4 8M 64k", path("kinds")]);
    const result = await explained("kinds");
    expect(bytesOf(result, "data")).toBe((1024 + 384 + 192) * KiB);
    expect(bytesOf(result, "zeroed")).toBe(128 * KiB);
    expect(bytesOf(result, "compressed")).toBeGreaterThan(0);
    expect(bytesOf(result, "leaked")).toBe(0);
    expect(bytesOf(result, "free") + bytesOf(result, "holes")).toBeLessThanOrEqual(64 * KiB);
  });

  it("finds leaked clusters", async () => {
    await make("leak", "qcow2", "");
    await io("leak", "write -P 1 0 192k");
    const bytes = readFileSync(path("leak"));
    const l2 = Number(
      bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(40))) & 0xff_ffff_ffff_fe00n,
    );
    const file = openSync(path("leak"), "r+");
    // The second cluster of the disk is forgotten; its refcount stays.
    writeSync(file, new Uint8Array(8), 0, 8, l2 + 8);
    closeSync(file);
    const result = await explained("leak");
    expect(bytesOf(result, "leaked")).toBe(64 * KiB);
    expect(bytesOf(result, "data")).toBe(128 * KiB);
  });

  it("decodes the header, with offsets that hold", async () => {
    await make("base", "qcow2", "");
    const options = `backing_file=base,backing_fmt=qcow2,lazy_refcounts=on,cluster_size=128k`;
    await make("fields", "qcow2", options);
    const { fields } = await explained("fields");
    const bytes = readFileSync(path("fields"));
    const value = (name: string): string => fields.find((field) => field.name === name)!.value;
    expect(value("version")).toBe("3");
    expect(value("cluster_bits")).toBe("17 (131072 bytes)");
    expect(value("size")).toBe(String(64 * MiB));
    expect(value("compatible_features")).toBe("0x1 (lazy refcounts)");
    expect(value("backing file format name")).toBe("qcow2");
    expect(value("feature name table")).toContain("extended L2 entries");
    const name = fields.find((field) => field.name === "backing file name")!;
    expect(bytes.subarray(name.offset, name.offset + name.width).toString()).toBe("base");
    const table = fields.find((field) => field.name === "feature name table")!;
    expect(bytes.readUInt32BE(table.offset)).toBe(0x6803_f857);
    expect(table.width).toBe(8 + bytes.readUInt32BE(table.offset + 4));
    for (const field of fields) {
      if (field.structure !== "Header" || field.width > 8 || field.name.includes(" ")) continue;
      const hex = bytes.subarray(field.offset, field.offset + field.width).toString("hex");
      expect([field.name, BigInt(field.value.split(" ")[0]!)]).toEqual([
        field.name,
        BigInt(`0x${hex}`),
      ]);
    }
  });
});
