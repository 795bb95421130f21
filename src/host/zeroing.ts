import { errno } from "./errno.ts";
import { errnoError } from "./errors.ts";
import { Falloc } from "./libc.ts";
import type { Libc } from "./libc.ts";

const impossible: readonly number[] = [
  -errno("EOPNOTSUPP"),
  -errno("ENOSYS"),
  -errno("ENODEV"),
  -errno("EINVAL"),
  -errno("EPERM"),
  -errno("ENOTTY"),
];

/** fallocate(2), again when a signal interrupts it. False when the host cannot do it. */
function attempt(
  libc: Libc,
  fd: number,
  file: string,
  mode: number,
  at: number,
  length: number,
): boolean {
  for (;;) {
    const result = libc.fallocate(fd, mode, at, length);
    if (result >= 0) return true;
    if (result === -errno("EINTR")) continue;
    if (impossible.includes(result)) return false;
    throw errnoError(result, "zero", file, at);
  }
}

/** Gives the space of the range back; it reads as zeros. The file's length stays. */
export const punchHole = (
  libc: Libc,
  fd: number,
  file: string,
  at: number,
  length: number,
): boolean => attempt(libc, fd, file, Falloc.punchHole | Falloc.keepSize, at, length);

/**
 * Makes the range read as zeros and leaves it allocated. The file grows to the end of the range
 * when it is shorter.
 */
export function zeroAllocated(
  libc: Libc,
  fd: number,
  file: string,
  at: number,
  length: number,
): boolean {
  if (attempt(libc, fd, file, Falloc.zeroRange, at, length)) return true;
  // tmpfs, for one, cannot zero in one step but has both halves of it.
  return punchHole(libc, fd, file, at, length) && attempt(libc, fd, file, 0, at, length);
}

/** A device may have to write the zeros, so the event loop gets its turn after each such piece. */
const devicePiece = 64 * 1024 * 1024;

/**
 * Makes a range of a block device read as zeros. False, with nothing changed, when the device or
 * the range's alignment does not allow it.
 */
export async function zeroDevice(
  libc: Libc,
  fd: number,
  file: string,
  at: number,
  length: number,
  unmap: boolean,
): Promise<boolean> {
  const mode = (unmap ? Falloc.punchHole : Falloc.zeroRange) | Falloc.keepSize;
  const end = at + length;
  for (let start = at; start < end; start += devicePiece) {
    if (!attempt(libc, fd, file, mode, start, Math.min(devicePiece, end - start))) return false;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return true;
}
