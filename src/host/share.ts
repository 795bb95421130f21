import { errno } from "./errno.ts";
import { errnoError } from "./errors.ts";
import type { Libc } from "./libc.ts";

const FICLONERANGE = 0x4020_940d;

/** Answers for two files that cannot share, or not there: no such filesystem, two of them, part of a block. */
const impossible: readonly number[] = [
  -errno("EOPNOTSUPP"),
  -errno("ENOTTY"),
  -errno("EXDEV"),
  -errno("EINVAL"),
  -errno("ETXTBSY"),
  -errno("EPERM"),
  -errno("ENOSYS"),
];

/**
 * Has `length` bytes of the file `fd` from `offset` on share the blocks of another one (ioctl_ficlonerange(2)).
 * False, having changed nothing, when that cannot be.
 */
export function shareBlocks(
  libc: Libc,
  from: { readonly fd: number; readonly offset: number },
  fd: number,
  file: string,
  offset: number,
  length: number,
): boolean {
  const range = [from.fd, from.offset, length, offset].map(BigInt);
  const bytes = new Uint8Array(new BigInt64Array(range).buffer);
  for (;;) {
    const result = libc.ioctl(fd, FICLONERANGE, bytes);
    if (result >= 0) return true;
    if (result === -errno("EINTR")) continue;
    if (impossible.includes(result)) return false;
    throw errnoError(result, "write", file, offset);
  }
}
