import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { LockMode } from "../storage/index.ts";
import { errno } from "./errno.ts";
import { systemLibc } from "./libc.ts";
import { FileLock, creatorLock, lockRequest } from "./locks.ts";
import { openFile } from "./open.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-locks-"));
afterAll(() => rmSync(directory, { recursive: true }));
const path = join(directory, "image");
writeFileSync(path, new Uint8Array(1024));

const { libc } = systemLibc();

/** Whether a second opening is possible beside the first; the reason if it is not. */
async function beside(first: [boolean, LockMode], second: [boolean, LockMode]): Promise<string> {
  const place = { path, name: "image" };
  const one = await openFile(place, { writable: first[0], lock: first[1] }, libc);
  try {
    const two = await openFile(place, { writable: second[0], lock: second[1] }, libc);
    await two.close();
    return "granted";
  } catch (error) {
    const { code, details } = error as { code: string; details: { qemu: string } };
    expect(code).toBe("E_LOCKED");
    return details.qemu;
  } finally {
    await one.close();
  }
}

const asked = "\nIs another process using the image [image]?";

describe.skipIf(libc === undefined)("two descriptors of one file", () => {
  test.each<[string, [boolean, LockMode], [boolean, LockMode], string]>([
    ["readers agree", [false, "exclusive"], [false, "exclusive"], "granted"],
    [
      "a reader is in a writer's way",
      [false, "exclusive"],
      [true, "exclusive"],
      `Failed to get "write" lock${asked}`,
    ],
    [
      "a writer is in a reader's way",
      [true, "exclusive"],
      [false, "exclusive"],
      `Failed to get shared "write" lock${asked}`,
    ],
    [
      "writers are in each other's way",
      [true, "exclusive"],
      [true, "exclusive"],
      `Failed to get "write" lock${asked}`,
    ],
    [
      "a shared reader may look at what is written",
      [true, "exclusive"],
      [false, "shared"],
      "granted",
    ],
    ["a shared reader lets a writer in", [false, "shared"], [true, "exclusive"], "granted"],
    ["shared writers agree", [true, "shared"], [true, "shared"], "granted"],
    ["no lock, no conflict", [true, "exclusive"], [true, "none"], "granted"],
  ])("%s", async (_, first, second, outcome) => {
    expect(await beside(first, second)).toBe(outcome);
  });

  test("a lock that cannot be had leaves the one before, and no traces of itself", async () => {
    const place = { path, name: "image" };
    const writer = await openFile(place, { writable: true, lock: "none" }, libc);
    const reader = await openFile(place, { writable: false }, libc);
    expect(() => writer.lock("exclusive")).toThrow(expect.objectContaining({ code: "E_LOCKED" }));
    reader.lock("none");
    writer.lock("exclusive");
    expect(() => reader.lock("exclusive")).toThrow(/shared "write" lock/);
    writer.lock("none");
    reader.lock("exclusive");
    await reader.close();
    await writer.close();
  });
});

test.skipIf(libc === undefined)("a filesystem that cannot lock is named, as QEMU does", () => {
  const fd = openSync(path, "r");
  const broken = { ...libc!, fcntl: () => -errno("ENOLCK") };
  expect(() => new FileLock(broken, fd, "image").change(lockRequest(false, "exclusive"))).toThrow(
    expect.objectContaining({
      code: "E_UNSUPPORTED",
      details: expect.objectContaining({ qemu: "Failed to lock byte 100: No locks available" }),
    }),
  );
  const old = { ...libc!, fcntl: () => -errno("EINVAL") };
  new FileLock(old, fd, "image").change(creatorLock);
  closeSync(fd);
});
