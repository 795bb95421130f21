import { constants, fstatSync, open as openCallback, stat } from "node:fs";
import type { BigIntStats } from "node:fs";
import { totalmem } from "node:os";
import { PlatterError } from "../errors.ts";
import type { OpenMode } from "../storage/index.ts";
import { deviceSize } from "./device.ts";
import { hostError, systemCode } from "./errors.ts";
import type { Action } from "./errors.ts";
import { FileStorage } from "./file.ts";
import type { Libc } from "./libc.ts";
import { closeDescriptor } from "./positional.ts";
import { promised } from "./promised.ts";

/** open(2): a descriptor. */
export const openDescriptor = (path: string, flags: number, mode?: number): Promise<number> =>
  promised<number>((done) => openCallback(path, flags, mode, done));

/** The flag that asks for direct I/O, if wanted. Throws `E_UNSUPPORTED` where the system has none. */
export function directFlag(direct: boolean | undefined, name: string): number {
  if (direct !== true) return 0;
  const { O_DIRECT: flag } = constants as { readonly O_DIRECT?: number };
  if (flag === undefined) throw noDirect(name, "open");
  return flag;
}

/** The error of an attempt to open a file, perhaps with {@link directFlag}. */
export function directError(
  error: unknown,
  direct: boolean | undefined,
  action: Action,
  name: string,
): PlatterError {
  if (direct === true && systemCode(error) === "EINVAL") return noDirect(name, action);
  return hostError(error, action, name);
}

const noDirect = (name: string, action: Action): PlatterError =>
  new PlatterError(
    "E_UNSUPPORTED",
    `${name}: the filesystem cannot go past the page cache; use another cache mode than none and directsync.`,
    {
      file: name,
      field: "cache.direct",
      qemu: `Could not ${action === "create" ? "create" : "open"} '${name}': filesystem does not support O_DIRECT`,
    },
  );

/** Where a file is, and what the user calls it. */
export interface Place {
  readonly path: string;
  /** What error messages call it. */
  readonly name: string;
}

/** What `stat` says of a file, at full precision. */
export const describe = (path: string): Promise<BigIntStats> =>
  promised<BigIntStats>((done) => stat(path, { bigint: true }, done));

/** Device and inode of a file; for a device its own number, which all of its names share. */
export const identityOf = (stats: BigIntStats): string =>
  stats.isBlockDevice() ? `device:${stats.rdev}` : `${stats.dev}:${stats.ino}`;

const kindOf = (stats: BigIntStats): string => {
  if (stats.isFIFO()) return "a named pipe";
  if (stats.isSocket()) return "a socket";
  if (stats.isCharacterDevice()) return "a character device";
  return "neither a file nor a block device";
};

/**
 * Refuses what is neither a regular file nor a block device. Opening some of the others waits for a
 * peer, or does things (rewinds a tape, arms a watchdog).
 */
export function refuseUnusable(
  stats: BigIntStats,
  name: string,
  action: Action,
  writable: boolean,
): void {
  if (stats.isFile() || stats.isBlockDevice()) return;
  const required = `'file' driver requires '${name}' to be a regular file`;
  if (!stats.isDirectory()) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${name}: this is ${kindOf(stats)}; an image is a regular file or a block device.`,
      { file: name, qemu: required },
    );
  }
  const reaching = action === "create" ? "create" : "open";
  throw new PlatterError("E_IS_DIRECTORY", `${name}: is a directory. Name a file.`, {
    file: name,
    qemu: writable ? `Could not ${reaching} '${name}': Is a directory` : required,
  });
}

/** No machine has so little memory that smaller files were worth a look at how much there is. */
const smallestMemory = 2 ** 30;

/** Whether so many bytes do not fit in memory. Finding out how much there is means opening a file. */
const isHuge = (bytes: number): boolean => bytes > smallestMemory && bytes > totalmem();

/**
 * Makes a storage of an open descriptor, which it then owns; closes it when that fails.
 *
 * @param lock as in {@link OpenMode}; `none` where the caller locks
 */
export async function adopt(
  fd: number,
  place: Place,
  mode: OpenMode,
  libc: Libc | undefined,
  action: Action = "open",
): Promise<FileStorage> {
  try {
    const stats = fstatSync(fd, { bigint: true });
    refuseUnusable(stats, place.name, action, mode.writable);
    const isDevice = stats.isBlockDevice();
    const storage = new FileStorage({
      name: place.name,
      path: place.path,
      fd,
      writable: mode.writable,
      isDevice,
      isHuge: isHuge(Number(stats.blocks) * 512),
      size: isDevice ? deviceSize(fd, Number(stats.rdev), libc) : Number(stats.size),
      identity: identityOf(stats),
      libc,
    });
    storage.lock(mode.lock ?? "exclusive");
    return storage;
  } catch (error) {
    await closeDescriptor(fd);
    throw hostError(error, action, place.name);
  }
}

/**
 * Opens an existing regular file or block device and locks it.
 *
 * Throws `E_NOT_FOUND`, `E_PERMISSION`, `E_IS_DIRECTORY`, `E_READ_ONLY`, `E_LOCKED`, `E_UNSUPPORTED`
 * (a pipe, socket or character device), with QEMU's words in `details.qemu`.
 */
export async function openFile(
  place: Place,
  mode: OpenMode,
  libc: Libc | undefined,
  action: Action = "open",
): Promise<FileStorage> {
  let fd: number;
  try {
    refuseUnusable(await describe(place.path), place.name, action, mode.writable);
    // Non-blocking, lest the file has become a pipe since; regular files do not care.
    const flags =
      (mode.writable ? constants.O_RDWR : constants.O_RDONLY) |
      (constants.O_NONBLOCK ?? 0) |
      directFlag(mode.direct, place.name);
    fd = await openDescriptor(place.path, flags);
  } catch (error) {
    throw directError(error, mode.direct, action, place.name);
  }
  return adopt(fd, place, mode, libc, action);
}
