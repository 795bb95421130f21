import { randomBytes } from "node:crypto";
import {
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fileProvider, systemLibc } from "../src/host/index.ts";
import { havePrograms, run, temporaryDirectory } from "./host-peer.ts";

const isRoot = process.getuid?.() === 0;
const { libc } = systemLibc();
const MiB = 1024 * 1024;
const directory = temporaryDirectory();

/** Whether this machine lets us attach a loop device: containers often have none. */
const loopWorks = isRoot && havePrograms("losetup") && (await run("losetup", ["-f"])).code === 0;

describe.skipIf(!loopWorks)("a loop device (root, losetup)", () => {
  const file = `${directory}/disk.raw`;
  let device = "";

  beforeAll(async () => {
    writeFileSync(file, randomBytes(MiB));
    truncateSync(file, 10 * MiB);
    device = (await run("losetup", ["-f", "--show", file])).stdout.trim();
  });
  afterAll(() => run("losetup", ["-d", device]));

  test.each([
    ["with libc", libc ?? null],
    ["without libc", null],
  ])("%s has a fixed size and is read and written", async (_, port) => {
    const provider = fileProvider({ libc: port });
    const disk = await provider.open(device, { writable: true });
    expect(disk.isDevice).toBe(true);
    expect(disk.size).toBe(10 * MiB);
    expect("truncate" in disk).toBe(false);
    expect("allocate" in disk).toBe(false);
    expect("extent" in disk).toBe(false);
    const start = new Uint8Array(4096);
    expect(await disk.read(0, start)).toBe(4096);
    expect(Buffer.from(start)).toEqual(readFileSync(file).subarray(0, 4096));
    await disk.write?.(5 * MiB + 7, new Uint8Array([1, 2, 3]));
    await disk.flush?.();
    expect([...readFileSync(file).subarray(5 * MiB + 7, 5 * MiB + 10)]).toEqual([1, 2, 3]);
    await expect(disk.write?.(10 * MiB, new Uint8Array(512))).rejects.toMatchObject({
      code: "E_NO_SPACE",
    });
    expect(disk.size).toBe(10 * MiB);
    expect(await disk.read(10 * MiB - 1, start)).toBe(1);
    await disk.close();
  });

  test("is opened in place when created, and stays when discarded", async () => {
    const provider = fileProvider();
    const made = await provider.create(device, { staged: true });
    await made.storage.write(2 * MiB, new Uint8Array(512).fill(9));
    await made.discard();
    const byte = new Uint8Array(1);
    await made.storage.read(2 * MiB, byte);
    expect(byte[0]).toBe(9);
    await made.storage.close();
    expect(statSync(device).isBlockDevice()).toBe(true);
  });

  test.skipIf(libc === undefined)("reads as zeros where it was zeroed", async () => {
    const disk = await fileProvider().open(device, { writable: true });
    await disk.write?.(0, new Uint8Array(MiB).fill(1));
    const some = new Uint8Array(MiB);
    for (const unmap of [true, false]) {
      const at = unmap ? 0 : MiB / 2;
      if ((await disk.zero?.(at, MiB / 4, { unmap })) !== true) continue;
      await disk.read(0, some);
      expect(some.subarray(at, at + MiB / 4).every((byte) => byte === 0)).toBe(true);
      expect(some[at + MiB / 4]).toBe(1);
    }
    // Half a sector cannot be zeroed by the device, and must not be claimed to be.
    expect(await disk.zero?.(100, 100, { unmap: true })).toBe(false);
    await disk.close();
  });

  test("has the same identity under every name, and its own as another device", async () => {
    const provider = fileProvider();
    const reading = { writable: false } as const;
    const plain = await provider.open(device, reading);
    const prefixed = await provider.open(`host_device:${device}`, reading);
    const backing = await provider.open(file, reading);
    expect(prefixed.identity).toBe(plain.identity);
    expect(backing.identity).not.toBe(plain.identity);
    for (const storage of [plain, prefixed, backing]) await storage.close();
  });
});

const mountWorks = isRoot && process.platform === "linux" && havePrograms("mount", "umount");

describe.skipIf(!mountWorks)("a full filesystem (root, tmpfs)", () => {
  const mount = `${directory}/full`;
  let mounted = false;

  beforeAll(async () => {
    mkdirSync(mount);
    mounted = (await run("mount", ["-t", "tmpfs", "-o", "size=1m", "none", mount])).code === 0;
  });
  afterAll(async () => {
    if (mounted) await run("umount", ["--lazy", mount]);
  });

  test("writing fails with E_NO_SPACE, and discarding leaves nothing", async ({ skip }) => {
    if (!mounted) skip("this machine does not allow to mount");
    const provider = fileProvider();
    for (const staged of [false, true]) {
      const made = await provider.create(`${mount}/image`, { staged });
      const refusal = { code: "E_NO_SPACE", details: { value: "ENOSPC" } };
      await expect(made.storage.write(0, new Uint8Array(2 * MiB))).rejects.toMatchObject(refusal);
      expect(() => made.storage.writeSync?.(0, new Uint8Array(2 * MiB))).toThrow(
        expect.objectContaining({ code: "E_NO_SPACE" }),
      );
      await made.storage.close();
      await made.discard();
      expect(readdirSync(mount)).toEqual([]);
    }
  });

  test("reserving fails with QEMU's words, and leaves the length as it was", async ({ skip }) => {
    if (!mounted) skip("this machine does not allow to mount");
    if (libc === undefined) skip("no libc port");
    const made = await fileProvider().create(`${mount}/image`);
    await expect(made.storage.allocate?.(0, 2 * MiB)).rejects.toMatchObject({
      code: "E_NO_SPACE",
      details: { qemu: "Could not preallocate new data: No space left on device" },
    });
    expect(made.storage.size).toBe(0);
    // tmpfs has no ZERO_RANGE: it takes the two steps.
    await made.storage.write(0, new Uint8Array(65536).fill(1));
    expect(await made.storage.zero?.(0, 65536, { unmap: false })).toBe(true);
    expect(await made.storage.allocatedBytes?.()).toBe(65536);
    await made.discard();
    await made.storage.close();
  });

  test("a mounted file is written in place", async ({ skip }) => {
    if (!mounted) skip("this machine does not allow to mount");
    const [inner, outer] = [`${mount}/inner`, `${directory}/outer file`];
    writeFileSync(inner, "old");
    writeFileSync(outer, "");
    const bound = await run("mount", ["--bind", inner, outer]);
    if (bound.code !== 0) skip("this machine does not allow to bind files");
    try {
      const made = await fileProvider().create(outer);
      await made.storage.write(0, new Uint8Array([65]));
      await made.publish();
      await made.storage.close();
      expect(readFileSync(inner, "utf8")).toBe("A");
    } finally {
      await run("umount", ["--lazy", outer]);
    }
  });
});
