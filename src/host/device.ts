import { readFileSync, readSync } from "node:fs";
import type { Libc } from "./libc.ts";

const BLKGETSIZE64 = 0x8008_1272;

function sizeFromIoctl(libc: Libc, fd: number): number | undefined {
  const size = new BigUint64Array(1);
  const result = libc.ioctl(fd, BLKGETSIZE64, new Uint8Array(size.buffer));
  return result < 0 ? undefined : Number(size[0]);
}

/** Linux tells a device's size in sectors of 512 bytes, whatever the device's own are. */
function sizeFromSysfs(rdev: number): number | undefined {
  // The layout of dev_t in glibc: the low 12 bits of the major number above 8 bits of the minor.
  const device = BigInt(rdev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffff_ff00n);
  try {
    return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, "ascii")) * 512;
  } catch {
    return undefined;
  }
}

/** Looks for the last readable byte: doubles until nothing is there, then halves the gap. */
export function sizeByReading(readable: (offset: number) => boolean): number {
  if (!readable(0)) return 0;
  let low = 0;
  let high = 1;
  while (high < Number.MAX_SAFE_INTEGER / 2 && readable(high)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2);
    if (readable(middle)) low = middle;
    else high = middle;
  }
  return high;
}

/** Size in bytes of the open block device `fd`, whose device number is `rdev`. */
export function deviceSize(fd: number, rdev: number, libc: Libc | undefined): number {
  const byte = new Uint8Array(1);
  const readable = (offset: number): boolean => {
    try {
      return readSync(fd, byte, 0, 1, offset) === 1;
    } catch {
      return false;
    }
  };
  return (
    (libc && sizeFromIoctl(libc, fd)) ??
    (process.platform === "linux" ? sizeFromSysfs(rdev) : undefined) ??
    sizeByReading(readable)
  );
}
