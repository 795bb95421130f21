import type { Libc } from "./libc.ts";

const FS_IOC_GETFLAGS = 0x8008_6601;
const FS_IOC_SETFLAGS = 0x4008_6602;
const FS_NOCOW_FL = 0x0080_0000;
const FS_IOC_FSGETXATTR = 0x801c_581f;
const FS_IOC_FSSETXATTR = 0x401c_5820;
const FS_XFLAG_EXTSIZE = 0x800;

/**
 * Turns copy-on-write off for a file that is still empty, as `chattr +C`. Zero, or the negated
 * error number: most filesystems do not have it.
 */
export function setNocow(libc: Libc, fd: number): number {
  // The kernel takes an int although the request number says long.
  const flags = new Uint8Array(8);
  const view = new DataView(flags.buffer);
  const result = libc.ioctl(fd, FS_IOC_GETFLAGS, flags);
  if (result < 0) return result;
  view.setUint32(0, view.getUint32(0, true) | FS_NOCOW_FL, true);
  return libc.ioctl(fd, FS_IOC_SETFLAGS, flags);
}

/**
 * Asks the filesystem to allocate the file in pieces of `bytes` (XFS does). Zero, or the negated
 * error number. With 0 bytes the hint is set to nothing, as QEMU does.
 */
export function setExtentSizeHint(libc: Libc, fd: number, bytes: number): number {
  const attributes = new Uint8Array(28); // struct fsxattr
  const view = new DataView(attributes.buffer);
  const result = libc.ioctl(fd, FS_IOC_FSGETXATTR, attributes);
  if (result < 0) return result;
  view.setUint32(0, view.getUint32(0, true) | FS_XFLAG_EXTSIZE, true);
  view.setUint32(4, bytes, true);
  return libc.ioctl(fd, FS_IOC_FSSETXATTR, attributes);
}
