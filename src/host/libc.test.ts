import { expect, test } from "vitest";
import { missingCapabilities } from "./capabilities.ts";
import { errno } from "./errno.ts";
import { findLibc, systemLibc } from "./libc.ts";

const onLinux = process.platform === "linux" && ["x64", "arm64"].includes(process.arch);

test.runIf(onLinux)("a missing koffi is a reason, not an error", () => {
  const search = findLibc(() => {
    throw new Error("Cannot find module 'koffi'");
  });
  expect(search).toEqual({ reason: "the optional package koffi is not installed" });
});

test.runIf(onLinux)("so is a C library that is not glibc", () => {
  const search = findLibc(() => ({
    load: () => {
      throw new Error("libc.so.6: cannot open shared object file");
    },
    errno: () => 0,
    address: () => 0n,
  }));
  expect(search.reason).toBe("the C library is not glibc");
});

test("what is missing is said in words", () => {
  const missing = missingCapabilities({ reason: "the system is plan9, not Linux" });
  expect(missing).toHaveLength(3);
  expect(missing.join(" ")).toMatch(/Holes.*plan9.*locked.*plan9.*reserved.*plan9/);
});

const { libc } = systemLibc();

test.skipIf(libc === undefined)("with everything there, nothing is missing", () => {
  expect(missingCapabilities()).toEqual([]);
});

test.skipIf(libc === undefined)("an old kernel lacks the locks alone", () => {
  const old = { ...libc!, fcntl: () => -errno("EINVAL") };
  expect(missingCapabilities({ libc: old })).toEqual([expect.stringMatching(/kernel/)]);
});

test.skipIf(libc === undefined)("errors come back as negated numbers", async () => {
  expect(libc?.lseek(-1, 0, 3)).toBe(-errno("EBADF"));
  expect(libc?.fallocate(-1, 0, 0, 1)).toBe(-errno("EBADF"));
  expect(libc?.posixFadvise(-1, 0, 0, 0)).toBe(-errno("EBADF"));
  expect(await libc?.posixFallocate(-1, 0, 1)).toBe(-errno("EBADF"));
});
