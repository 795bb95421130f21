import { PlatterError } from "../errors.ts";
import type { LockMode } from "../storage/index.ts";
import { errno, errnoName, strerror } from "./errno.ts";
import { systemError } from "./errors.ts";
import type { Libc } from "./libc.ts";

/**
 * What QEMU lets a user of an image do. The values are the distance of each permission's lock bytes
 * from 100 (held) and 200 (not granted to others).
 */
export const Permission = { consistentRead: 0, write: 1, writeUnchanged: 2, resize: 3 } as const;

/** A value of {@link Permission}. */
export type Permission = (typeof Permission)[keyof typeof Permission];

const names = ["consistent read", "write", "write unchanged", "resize"] as const;
const all: readonly Permission[] = [0, 1, 2, 3];

/** The permissions wanted, and those that nobody else may have meanwhile. */
export interface LockRequest {
  readonly take: readonly Permission[];
  readonly deny: readonly Permission[];
}

const { consistentRead, write, resize } = Permission;

/** Holds and denies nothing. */
const noLock: LockRequest = { take: [], deny: [] };

/** What `qemu-img create` asks of a file before it empties it. */
export const creatorLock: LockRequest = { take: [write, resize], deny: [resize] };

/**
 * What QEMU's own tools ask for. A reader as `convert`, `check` and `map` of a qcow2 image; a
 * writer as `check -r`, `commit` and `qemu-io`. A shared reader is one with `-U`. Shared writers, which QEMU
 * has for raw images only, are `convert -n -O raw`, and `resize -f raw`, which also changes the size.
 */
export function lockRequest(writable: boolean, mode: LockMode): LockRequest {
  if (mode === "none") return noLock;
  const changes: readonly Permission[] = mode === "shared" ? [write] : [write, resize];
  return {
    take: [consistentRead, ...(writable ? changes : [])],
    deny: mode === "exclusive" ? [write, resize] : [],
  };
}

const heldBase = 100;
const deniedBase = 200;
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** struct flock of 64-bit Linux for the single byte at `start`, counted from the file's beginning. */
function flock(type: number, start: number): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setInt16(0, type, true);
  view.setBigInt64(8, BigInt(start), true);
  view.setBigInt64(16, 1n, true);
  return bytes;
}

const setByte = (libc: Libc, fd: number, type: number, start: number): number =>
  libc.fcntl(fd, F_OFD_SETLK, flock(type, start));

/** 1 when somebody else holds `start`, 0 when nobody does, or a negated error number. */
function probeByte(libc: Libc, fd: number, start: number): number {
  const request = flock(F_WRLCK, start);
  const result = libc.fcntl(fd, F_OFD_GETLK, request);
  if (result < 0) return result;
  return new DataView(request.buffer).getInt16(0, true) === F_UNLCK ? 0 : 1;
}

/** Whether the kernel has locks that belong to an open file description (Linux 3.15). */
export const hasFileLocks = (libc: Libc, fd: number): boolean =>
  libc.fcntl(fd, F_OFD_GETLK, flock(F_RDLCK, 0)) !== -errno("EINVAL");

function refusal(file: string, detail: string): PlatterError {
  return new PlatterError(
    "E_LOCKED",
    `${file}: another program is using the image (${detail.toLowerCase()}). Close that program first, or only read, with -U (lock: "shared").`,
    { file, qemu: `${detail}\nIs another process using the image [${file}]?` },
  );
}

const bytesOf = (request: LockRequest): number[] => [
  ...all.filter((p) => request.take.includes(p)).map((p) => heldBase + p),
  ...all.filter((p) => request.deny.includes(p)).map((p) => deniedBase + p),
];

/**
 * QEMU's image locks on one open file: shared byte-range locks of the open file description, one
 * for each permission held and one for each denied; then the opposite bytes are probed. Locks of
 * this kind conflict between two descriptors of the same process as well, and vanish on close.
 */
export class FileLock {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #file: string;
  #held: readonly number[] = [];

  /**
   * @param fd descriptor open for reading at least
   * @param file what error messages call the file
   */
  constructor(libc: Libc, fd: number, file: string) {
    this.#libc = libc;
    this.#fd = fd;
    this.#file = file;
  }

  /**
   * Goes over from the present locks to those of `request`. Throws `E_LOCKED` with QEMU's words
   * when somebody else's conflict; the present ones are kept then. On a kernel without such locks
   * nothing happens.
   */
  change(request: LockRequest): void {
    const wanted = bytesOf(request);
    const added: number[] = [];
    try {
      for (const byte of wanted) {
        if (this.#held.includes(byte)) continue;
        const result = setByte(this.#libc, this.#fd, F_RDLCK, byte);
        if (result === -errno("EINVAL")) return;
        if (result < 0) throw this.#failure(byte, result);
        added.push(byte);
      }
      for (const p of all) if (request.take.includes(p)) this.#probe(deniedBase + p, names[p], "");
      for (const p of all) {
        if (request.deny.includes(p)) this.#probe(heldBase + p, names[p], "shared ");
      }
    } catch (error) {
      for (const byte of added) setByte(this.#libc, this.#fd, F_UNLCK, byte);
      throw error;
    }
    for (const byte of this.#held) {
      if (!wanted.includes(byte)) setByte(this.#libc, this.#fd, F_UNLCK, byte);
    }
    this.#held = wanted;
  }

  #probe(byte: number, name: string, shared: string): void {
    const result = probeByte(this.#libc, this.#fd, byte);
    if (result === 0) return;
    if (result < 0) throw this.#failure(byte, result);
    throw refusal(this.#file, `Failed to get ${shared}"${name}" lock`);
  }

  #failure(byte: number, result: number): PlatterError {
    const name = errnoName(-result);
    const error = systemError(name, "lock", this.#file, byte);
    const qemu = `Failed to lock byte ${byte}: ${strerror(name)}`;
    return new PlatterError(error.code, error.message, { ...error.details, qemu });
  }
}
