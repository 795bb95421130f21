import { closeSync, openSync } from "node:fs";
import { systemLibc } from "./libc.ts";
import type { LibcSearch, findLibc } from "./libc.ts";
import { hasFileLocks } from "./locks.ts";

/** Whether this kernel has the locks that QEMU uses; tried on a file that everybody has. */
function locksWork(search: LibcSearch): boolean {
  if (search.libc === undefined) return false;
  let fd: number;
  try {
    fd = openSync("/dev/null", "r");
  } catch {
    return true;
  }
  try {
    return hasFileLocks(search.libc, fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * What cannot be done on this system, and why: a sentence each, none when all is there. Everything
 * else works without.
 *
 * @param search where the C library was looked for; this process's own search unless given
 */
export function missingCapabilities(
  search: ReturnType<typeof findLibc> = systemLibc(),
): readonly string[] {
  if (search.libc === undefined) {
    const why = `because ${search.reason}`;
    return [
      `Holes in files are neither found nor made, ${why}: sparse files are read in full, and zeros are written out.`,
      `Images are not locked against other programs, ${why}: make sure that nobody else uses them.`,
      `Space cannot be reserved (preallocation=falloc), ${why}.`,
    ];
  }
  if (!locksWork(search)) {
    return [
      "Images are not locked against other programs, because this kernel has no open file description locks: make sure that nobody else uses them.",
    ];
  }
  return [];
}
