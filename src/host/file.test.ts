import { execFileSync } from "node:child_process";
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { deviceSize, sizeByReading } from "./device.ts";
import type { FileStorage } from "./file.ts";
import { systemLibc } from "./libc.ts";
import { openFile } from "./open.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-file-"));
afterAll(() => rmSync(directory, { recursive: true }));

const { libc } = systemLibc();
const MiB = 1024 * 1024;
let count = 0;

/** A fresh file with this content, opened. */
async function fresh(content: Uint8Array, writable = true, port = libc): Promise<FileStorage> {
  const path = join(directory, `f${count++}`);
  writeFileSync(path, content);
  return openFile({ path, name: path }, { writable }, port);
}

describe.each([
  ["with libc", libc],
  ["without libc", undefined],
])("a file %s", (label, port) => {
  test.skipIf(label === "with libc" && port === undefined)(
    "reads, writes and keeps its size",
    async () => {
      const file = await fresh(new Uint8Array([1, 2, 3]), true, port);
      const into = new Uint8Array(8);
      expect(file.size).toBe(3);
      expect(await file.read(1, into)).toBe(2);
      expect(into.subarray(0, 2)).toEqual(new Uint8Array([2, 3]));
      expect(file.readSync(7, into)).toBe(0);
      await file.write?.(10, new Uint8Array([9]));
      expect(file.size).toBe(11);
      file.writeSync?.(11, new Uint8Array([8, 7]));
      expect(file.size).toBe(13);
      await file.flush?.();
      expect(file.readSync(8, into)).toBe(5);
      expect(into.subarray(0, 5)).toEqual(new Uint8Array([0, 0, 9, 8, 7]));
      await file.truncate?.(2);
      expect(file.size).toBe(2);
      await file.write?.(100, new Uint8Array(0));
      expect(file.size).toBe(2);
      await file.close();
      await file.close();
      expect(readFileSync(file.name)).toEqual(Buffer.from([1, 2]));
      await expect(file.read(0, into)).rejects.toMatchObject({ code: "E_CLOSED" });
    },
  );
});

test("a file opened for reading offers nothing that writes", async () => {
  const file = await fresh(new Uint8Array(10), false);
  for (const verb of ["write", "writeSync", "flush", "truncate", "zero", "allocate"] as const) {
    expect(verb in file).toBe(false);
  }
  await file.close();
});

test("identity is the same for two openings of one file only", async () => {
  const one = await fresh(new Uint8Array(1), false);
  const again = await openFile({ path: one.name, name: "again" }, { writable: false }, libc);
  const other = await fresh(new Uint8Array(1), false);
  expect(again.identity).toBe(one.identity);
  expect(other.identity).not.toBe(one.identity);
  const stats = statSync(one.name);
  expect(one.identity).toBe(`${stats.dev}:${stats.ino}`);
  for (const file of [one, again, other]) await file.close();
});

test("offsets beyond the limits are refused, not wrapped around", async () => {
  const file = await fresh(new Uint8Array(1));
  await expect(file.read(2 ** 53, new Uint8Array(1))).rejects.toMatchObject({ code: "E_LIMIT" });
  expect(await file.read(2 ** 53 - 2, new Uint8Array(1)).catch(() => 0)).toBe(0);
  await expect(file.truncate?.(2 ** 53 - 1)).rejects.toMatchObject({ code: "E_FILE_TOO_LARGE" });
  await file.close();
});

test("closing waits for what is under way, lest the descriptor's number means another file", async () => {
  let finish = (_result: number): void => {};
  const slow = {
    fallocate: () => 0,
    posixFallocate: () => new Promise<number>((resolve) => (finish = resolve)),
    lseek: () => 0,
    fcntl: () => 0,
    ioctl: () => 0,
    posixFadvise: () => 0,
    readCached: () => 0,
  };
  const path = join(directory, "slow");
  writeFileSync(path, "");
  const file = await openFile({ path, name: path }, { writable: true, lock: "none" }, slow);
  const allocating = file.allocate?.(0, 4096);
  const closing = file.close();
  await new Promise((resolve) => setImmediate(resolve));
  expect(fstatSync(file.fd).size).toBe(0);
  finish(0);
  await allocating;
  await closing;
  expect(() => fstatSync(file.fd)).toThrow(/EBADF/);
});

describe.skipIf(libc === undefined)("with libc", () => {
  test("finds holes, and notices its own changes", async () => {
    const file = await fresh(new Uint8Array(0));
    await file.truncate?.(4 * MiB);
    expect(file.extent?.(0)).toEqual({ end: 4 * MiB, data: false });
    await file.write?.(MiB, new Uint8Array(MiB).fill(1));
    expect(file.extent?.(0)).toEqual({ end: MiB, data: false });
    expect(file.extent?.(MiB + 5)).toEqual({ end: 2 * MiB, data: true });
    expect(file.extent?.(3 * MiB)).toEqual({ end: 4 * MiB, data: false });
    expect(await file.zero?.(MiB, MiB / 2, { unmap: true })).toBe(true);
    expect(file.extent?.(MiB)).toEqual({ end: MiB * 1.5, data: false });
    file.writeSync?.(0, new Uint8Array(4096).fill(1));
    expect(file.extent?.(0)?.data).toBe(true);
    await file.truncate?.(2 * MiB);
    expect(file.extent?.(2 * MiB)).toBeUndefined();
    await file.close();
  });

  test("says that it has been cut by somebody else", async () => {
    const file = await fresh(new Uint8Array(MiB).fill(1), false);
    writeFileSync(file.name, new Uint8Array(10));
    expect(file.extent?.(MiB / 2)).toBeUndefined();
    const error = { code: "E_TRUNCATED", details: { offset: 10, value: MiB } };
    await expect(file.read(0, new Uint8Array(MiB))).rejects.toMatchObject(error);
    expect(() => file.readSync(0, new Uint8Array(MiB))).toThrow("ends at 10");
    await file.close();
  });

  test("many small reads from memory leave time for signals and timers", async () => {
    const file = await fresh(new Uint8Array(65536).fill(1));
    const seen = { timer: false };
    setTimeout(() => (seen.timer = true), 0);
    const into = new Uint8Array(512);
    let reads = 0;
    while (!seen.timer && reads < 1_000_000) {
      reads++;
      await file.read(0, into);
    }
    expect(seen.timer).toBe(true);
    await file.close();
  });

  test("takes note of what was written through the descriptor when told", async () => {
    const file = await fresh(new Uint8Array(0));
    expect(file.extent?.(0)).toBeUndefined();
    writeSync(file.fd, new Uint8Array(4096).fill(3), 0, 4096, 8192);
    file.refresh();
    expect(file.size).toBe(12288);
    expect(file.extent?.(8192)).toEqual({ end: 12288, data: true });
    await file.close();
  });

  test("zeroes with and without giving the space back, also past the end", async () => {
    const file = await fresh(new Uint8Array(2 * MiB).fill(1));
    await file.flush?.();
    const full = (await file.allocatedBytes()) ?? 0;
    expect(await file.zero?.(0, MiB, { unmap: false })).toBe(true);
    expect(await file.allocatedBytes()).toBe(full);
    expect(await file.zero?.(0, MiB, { unmap: true })).toBe(true);
    expect(await file.allocatedBytes()).toBe(full - MiB);
    expect(await file.zero?.(MiB, 2 * MiB, { unmap: true })).toBe(true);
    expect(file.size).toBe(3 * MiB);
    expect(await file.zero?.(4 * MiB, MiB, { unmap: false })).toBe(true);
    expect(file.size).toBe(5 * MiB);
    expect(readFileSync(file.name).every((byte) => byte === 0)).toBe(true);
    await file.close();
  });

  test("reserves space, which only the filesystem's own extents tell from data", async () => {
    const file = await fresh(new Uint8Array(0));
    await file.allocate?.(0, MiB);
    await file.truncate?.(3 * MiB);
    await file.write?.(2 * MiB, new Uint8Array(MiB).fill(1));
    await file.flush?.();
    expect(await file.allocatedBytes()).toBe(2 * MiB);
    const extents = file.hostExtents();
    if (extents !== undefined) {
      const runs = [...extents];
      expect(runs[0]).toMatchObject({ offset: 0, kind: "unwritten" });
      expect(runs.at(-1)?.kind).toBe("written");
      expect(runs.some((run) => run.kind === "hole")).toBe(true);
      let at = 0;
      for (const run of runs) {
        expect(run.offset).toBe(at);
        at += run.length;
      }
      expect(at).toBe(3 * MiB);
      const part = [...(file.hostExtents(MiB / 2, MiB * 1.5) ?? [])];
      expect(part.map((run) => [run.offset, run.length, run.kind])).toEqual([
        [MiB / 2, MiB / 2, "unwritten"],
        [MiB, MiB / 2, "hole"],
      ]);
    }
    await file.close();
  });

  test("walks more host extents than one answer holds", async () => {
    const file = await fresh(new Uint8Array(0));
    for (let i = 0; i < 700; i++) file.writeSync?.(i * 8192, new Uint8Array(4096).fill(1));
    await file.flush?.();
    const runs = [...(file.hostExtents() ?? [])];
    if (runs.length > 0) {
      const written = runs.filter((run) => run.kind === "written").length;
      expect(written).toBe(700);
      expect(runs.length).toBe(1399);
    }
    await file.close();
  });

  test("a reservation that fails leaves the length as it was", async () => {
    const file = await fresh(new Uint8Array(10));
    await expect(file.allocate?.(0, 2 ** 52)).rejects.toMatchObject({
      code: expect.stringMatching(/^E_(NO_SPACE|FILE_TOO_LARGE)$/),
    });
    expect(statSync(file.name).size).toBe(10);
    expect(file.size).toBe(10);
    await file.close();
  });

  test("shares blocks with another file where the filesystem can, and else changes nothing", async () => {
    const from = await fresh(new Uint8Array(MiB).fill(6), false);
    const to = await fresh(new Uint8Array(0));
    const isShared = await to.share!(from, 0, 4096, 65536);
    expect(to.size).toBe(isShared ? 4096 + 65536 : 0);
    if (isShared) expect(readFileSync(to.name)[5000]).toBe(6);
    expect(await to.share!(from, 1, 4096, 65536)).toBe(false);
    await from.close();
    await to.close();
  });
});

describe("refusing", () => {
  const open = (path: string, writable = false): Promise<FileStorage> =>
    openFile({ path, name: path }, { writable }, libc);

  test("a directory, in the words of QEMU for either way of opening", async () => {
    await expect(open(directory)).rejects.toMatchObject({
      code: "E_IS_DIRECTORY",
      details: { qemu: `'file' driver requires '${directory}' to be a regular file` },
    });
    await expect(open(directory, true)).rejects.toMatchObject({
      code: "E_IS_DIRECTORY",
      details: { qemu: `Could not open '${directory}': Is a directory` },
    });
  });

  test("what is not there", async () => {
    await expect(open(join(directory, "none"))).rejects.toMatchObject({ code: "E_NOT_FOUND" });
    await expect(open("a\0b")).rejects.toMatchObject({ code: "E_INVALID_ARGUMENT" });
  });

  test.skipIf(process.platform === "win32")("a pipe and a terminal, without waiting", async () => {
    const pipe = join(directory, "pipe");
    execFileSync("mkfifo", [pipe]);
    await expect(open(pipe)).rejects.toMatchObject({ code: "E_UNSUPPORTED" });
    await expect(open(pipe, true)).rejects.toMatchObject({ code: "E_UNSUPPORTED" });
    await expect(open("/dev/zero")).rejects.toMatchObject({ code: "E_UNSUPPORTED" });
  });
});

test("a device's size can be found by reading alone", () => {
  for (const size of [0, 1, 2, 511, 512, 513, 10 * MiB, 2 ** 50 + 512]) {
    expect(sizeByReading((offset) => offset < size)).toBe(size);
  }
});

test.skipIf(process.platform !== "linux")("without ioctl or sysfs, it is", () => {
  const path = join(directory, "plain");
  writeFileSync(path, new Uint8Array(12345));
  const fd = openSync(path, "r");
  expect(deviceSize(fd, 0, undefined)).toBe(12345);
  closeSync(fd);
});
