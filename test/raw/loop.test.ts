/** A block device as a target and as a source, by way of a loop device. Needs root. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert, create, info, open } from "../../src/index.ts";
import { findPeer } from "../../tools/peers.ts";

const MiB = 2 ** 20;
const directory = mkdtempSync(join(tmpdir(), "platter-loop-"));
const path = (name: string): string => join(directory, name);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const losetup = findPeer("losetup");
const able = losetup !== undefined && process.getuid?.() === 0;

describe.skipIf(!able)("a loop device (needs root)", () => {
  let device: string;
  beforeAll(() => {
    // Full of something, so that zeros have to be written too.
    writeFileSync(path("device"), new Uint8Array(8 * MiB).fill(0xee));
    device = execFileSync(losetup!, ["-f", "--show", path("device")], { encoding: "utf8" }).trim();
  });
  afterAll(() => {
    execFileSync(losetup!, ["-d", device]);
  });

  const content = (): Uint8Array => {
    const bytes = new Uint8Array(8 * MiB);
    bytes.fill(1, 100_000, 300_000);
    bytes.fill(2, 5 * MiB, 5 * MiB + 4096);
    return bytes;
  };

  it("is filled by convert -n, zeros included, and read back", async () => {
    await create({ name: path("disk.qcow2"), format: "qcow2", size: 8 * MiB });
    {
      await using disk = await open(path("disk.qcow2"), { writable: true });
      await disk.write(100_000, new Uint8Array(200_000).fill(1));
      await disk.write(5 * MiB, new Uint8Array(4096).fill(2));
    }
    await convert({
      sources: [path("disk.qcow2")],
      target: device,
      targetFormat: "raw",
      createTarget: false,
      sync: true,
    });
    await convert({ sources: [device], target: path("back.raw"), targetFormat: "raw" });
    expect(Buffer.compare(readFileSync(path("back.raw")), content())).toBe(0);
    const [described] = await info({ name: device, format: "raw" });
    expect(described).toMatchObject({ format: "raw", virtualSize: 8 * MiB });
  });

  it("is filled by convert without -n, and stays a device", async () => {
    writeFileSync(path("source.raw"), content());
    await convert({ sources: [path("source.raw")], target: device, targetFormat: "raw" });
    await using disk = await open(device);
    const bytes = new Uint8Array(8 * MiB);
    await disk.read(0, bytes);
    expect(Buffer.compare(bytes, content())).toBe(0);
  });

  it("that is too small is refused before anything is written", async () => {
    writeFileSync(path("large.raw"), "");
    truncateSync(path("large.raw"), 9 * MiB);
    const onto = { target: device, targetFormat: "raw", createTarget: false };
    await expect(convert({ sources: [path("large.raw")], ...onto })).rejects.toMatchObject({
      code: "E_OUT_OF_RANGE",
      details: { qemu: "output file is smaller than input file" },
    });
  });

  it("can hold a qcow2 image", async () => {
    await create({ name: device, format: "qcow2", size: 64 * MiB });
    {
      await using disk = await open(device, { writable: true });
      await disk.write(50 * MiB, new Uint8Array(4096).fill(9));
    }
    await using disk = await open(device);
    const bytes = new Uint8Array(4096);
    await disk.read(50 * MiB, bytes);
    expect(disk.image.format).toBe("qcow2");
    expect(bytes).toEqual(new Uint8Array(4096).fill(9));
  });
});
