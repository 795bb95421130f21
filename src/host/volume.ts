import { fstatSync, statfs, type StatsFs } from "node:fs";
import { promised } from "./promised.ts";
import type { Volume } from "../storage/index.ts";

/** Filesystems by the number that statfs(2) calls its type (Linux `linux/magic.h`). */
const filesystems: Readonly<Record<string, string>> = {
  "0xef53": "ext4",
  "0x58465342": "xfs",
  "0x9123683e": "btrfs",
  "0x1021994": "tmpfs",
  "0x794c7630": "overlayfs",
  "0x2fc12fc1": "zfs",
  "0xf2f52010": "f2fs",
  "0xca451a4e": "bcachefs",
  "0x6969": "nfs",
  "0xff534d42": "cifs",
  "0xfe534d42": "smb2",
  "0x65735546": "fuse",
  "0x1021997": "9p",
  "0x4d44": "vfat",
  "0x2011bab0": "exfat",
  "0x5346544e": "ntfs",
};

/** The filesystem that an open file is on. Undefined where the system does not tell. */
export async function volumeOf(fd: number, path: string): Promise<Volume | undefined> {
  try {
    // The name may have come to mean another file; the descriptor has not.
    const name = process.platform === "linux" ? `/proc/self/fd/${fd}` : path;
    const { type, bsize, blocks, bavail, files, ffree } = await promised<StatsFs>((done) =>
      statfs(name, done),
    );
    return {
      id: String(fstatSync(fd).dev),
      filesystem: filesystems[`0x${(type >>> 0).toString(16)}`],
      size: blocks * bsize,
      free: bavail * bsize,
      inodes: files,
      freeInodes: ffree,
    };
  } catch {
    return undefined;
  }
}
