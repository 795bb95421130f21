import {
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  link,
  rename,
  truncate,
  unlink,
} from "node:fs";
import type { BigIntStats } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { CreateStorageOptions, NewStorage, WritableStorage } from "../storage/index.ts";
import { setExtentSizeHint, setNocow } from "./attributes.ts";
import { syncName } from "./directories.ts";
import { errnoName, strerror } from "./errno.ts";
import { hostError, systemCode, systemError } from "./errors.ts";
import type { FileStorage } from "./file.ts";
import type { Libc } from "./libc.ts";
import { FileLock, creatorLock } from "./locks.ts";
import {
  adopt,
  describe,
  directError,
  directFlag,
  identityOf,
  openDescriptor,
  openFile,
  refuseUnusable,
} from "./open.ts";
import type { Place } from "./open.ts";
import { closeDescriptor } from "./positional.ts";
import { promised } from "./promised.ts";
import { followLinks, isReplaceable } from "./replace.ts";

/** What making a file needs from its surroundings. */
export interface Surroundings {
  readonly libc: Libc | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** Everything about the one file that is being made. */
interface Job extends Surroundings {
  readonly place: Place;
  /** Where the file will be, after symbolic links. */
  readonly target: string;
  readonly options: CreateStorageOptions;
}

const newFile = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
const newFileMode = 0o644;
const newFileFlags = ({ options, place }: Job): number =>
  newFile | directFlag(options.direct, place.name);
/** QEMU gives every new file this hint unless told otherwise. */
const defaultExtentSizeHint = 1024 * 1024;
const longestName = 255;
/** How often a name may change its meaning under us before we give up. */
const patience = 10;

const asWritable = (storage: FileStorage): WritableStorage =>
  storage as FileStorage & WritableStorage;

/** The file attributes that QEMU sets on a file that is still empty. */
function setAttributes(fd: number, { libc, options, onWarning }: Job): void {
  if (libc === undefined) return;
  if (options.nocow === true) setNocow(libc, fd);
  const result = setExtentSizeHint(libc, fd, options.extentSizeHint ?? defaultExtentSizeHint);
  if (result < 0 && (options.extentSizeHint ?? 0) > 0) {
    onWarning?.(`Failed to set extent size hint: ${strerror(errnoName(-result))}`);
  }
}

/** Removes `path` if it is still the file that we made. */
async function removeOwn(path: string, identity: string | undefined, name: string): Promise<void> {
  try {
    if (identityOf(await describe(path)) === identity) await promised((done) => unlink(path, done));
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw hostError(error, "discard", name);
  }
}

/** A {@link NewStorage} that ends once, whichever ending comes first. `job`: of a file with a name to keep. */
function endingOnce(
  storage: FileStorage,
  job: Job | undefined,
  publish: () => Promise<void>,
  discard: () => Promise<void>,
): NewStorage {
  let ended = false;
  return {
    storage: asWritable(storage),
    publish: async (how) => {
      if (ended) return;
      // Only a publication that worked is an ending: one that failed can still be discarded.
      await publish();
      if (how?.durable === true && job !== undefined) await syncName(job.target, job.place.name);
      ended = true;
    },
    discard: async () => {
      if (ended) return;
      ended = true;
      await discard();
    },
  };
}

/** The storage for a descriptor of a file just made; removes the file when that fails. */
async function adoptNew(fd: number, path: string, job: Job): Promise<FileStorage> {
  const identity = identityOf(fstatSync(fd, { bigint: true }));
  try {
    setAttributes(fd, job);
    return await adopt(fd, job.place, { writable: true }, job.libc, "create");
  } catch (error) {
    await removeOwn(path, identity, job.place.name);
    throw error;
  }
}

/** A file under its own name, which nothing had. */
async function createDirectly(job: Job): Promise<NewStorage> {
  const fd = await openDescriptor(job.target, newFileFlags(job), newFileMode);
  const storage = await adoptNew(fd, job.target, job);
  return endingOnce(
    storage,
    job,
    () => Promise.resolve(),
    () => removeOwn(job.target, storage.identity, job.place.name),
  );
}

/** A name beside `target` that a user recognises, and that fits the filesystem's limit. */
function temporaryName(target: string): string {
  // It has to be new, not secret: the file is created exclusively.
  const random = Math.floor(Math.random() * 2 ** 48).toString(16);
  const suffix = `.platter-${random.padStart(12, "0")}`;
  let base = basename(target);
  while (Buffer.byteLength(base) + suffix.length + 1 > longestName) base = base.slice(0, -1);
  return join(dirname(target), `.${base}${suffix}`);
}

/** Gives a finished file a name that nothing had, and still has not. */
async function giveNewName(temporary: string, { target, place }: Job): Promise<void> {
  try {
    await promised((done) => link(temporary, target, done));
  } catch (error) {
    const code = systemCode(error) ?? "";
    // Filesystems without hard links leave only the renaming that would replace another's file.
    const noLinks = ["EPERM", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EMLINK"].includes(code);
    if (!noLinks) throw hostError(error, "publish", place.name);
    await promised((done) => rename(temporary, target, done));
    return;
  }
  await promised((done) => unlink(temporary, done));
}

/** A file under a temporary name that gets its own when it is published. */
async function createStaged(job: Job): Promise<NewStorage> {
  const temporary = temporaryName(job.target);
  const fd = await openDescriptor(temporary, newFileFlags(job), newFileMode);
  const storage = await adoptNew(fd, temporary, job);
  return endingOnce(
    storage,
    job,
    () => giveNewName(temporary, job),
    () => removeOwn(temporary, storage.identity, job.place.name),
  );
}

/** A file that will take the place of `old`, with its owner and mode; undefined if it cannot. */
async function createSuccessor(
  job: Job,
  oldFd: number,
  old: BigIntStats,
): Promise<NewStorage | undefined> {
  if (!(await isReplaceable(job.target, old))) return undefined;
  const temporary = temporaryName(job.target);
  let fd: number;
  try {
    fd = await openDescriptor(temporary, newFileFlags(job), newFileMode);
  } catch (error) {
    if (["EACCES", "EPERM", "EROFS"].includes(systemCode(error) ?? "")) return undefined;
    throw error;
  }
  const made = fstatSync(fd, { bigint: true });
  try {
    // Owner first: changing it clears bits of the mode.
    if (made.uid !== old.uid || made.gid !== old.gid) {
      fchownSync(fd, Number(old.uid), Number(old.gid));
    }
    fchmodSync(fd, Number(old.mode & 0o7777n));
  } catch {
    await closeDescriptor(fd);
    await removeOwn(temporary, identityOf(made), job.place.name);
    return undefined;
  }
  const storage = await adoptNew(fd, temporary, job);
  return endingOnce(
    storage,
    job,
    async () => {
      try {
        await promised((done) => rename(temporary, job.target, done));
      } catch (error) {
        throw hostError(error, "publish", job.place.name);
      }
      await closeDescriptor(oldFd);
    },
    async () => {
      await closeDescriptor(oldFd);
      await removeOwn(temporary, storage.identity, job.place.name);
    },
  );
}

/** The existing file itself, emptied, as QEMU does: where it cannot be replaced by another. */
async function overwrite(job: Job, fd: number): Promise<NewStorage> {
  const storage = await adopt(fd, job.place, { writable: true }, job.libc, "create");
  try {
    await storage.truncate?.(0);
    setAttributes(fd, job);
  } catch (error) {
    await storage.close();
    throw error;
  }
  return endingOnce(
    storage,
    undefined,
    () => Promise.resolve(),
    async () => {
      // The old content is gone; half of the new one must not pass for an image.
      if (identityOf(await describe(job.target)) === storage.identity)
        await promised((done) => truncate(job.target, done));
    },
  );
}

/** Replaces a regular file. Undefined when the name has come to mean another file meanwhile. */
async function createOver(job: Job): Promise<NewStorage | undefined> {
  const { name } = job.place;
  const fd = await openDescriptor(
    job.target,
    constants.O_RDWR | (constants.O_NONBLOCK ?? 0) | directFlag(job.options.direct, name),
  );
  let successor: NewStorage | undefined;
  try {
    const old = fstatSync(fd, { bigint: true });
    refuseUnusable(old, name, "create", true);
    if (job.libc) new FileLock(job.libc, fd, name).change(creatorLock);
    // Another program that replaced it before we had the lock has left us with a nameless file.
    if (identityOf(await describe(job.target)) !== identityOf(old)) {
      await closeDescriptor(fd);
      return undefined;
    }
    successor = await createSuccessor(job, fd, old);
  } catch (error) {
    await closeDescriptor(fd);
    throw error;
  }
  // The lock of an emptied file is the storage's own; it takes over the descriptor.
  return successor ?? overwrite(job, fd);
}

/** One attempt. Undefined when the name changed its meaning between looking and opening. */
async function attempt(job: Job): Promise<NewStorage | undefined> {
  const { place, target, libc, options } = job;
  let stats: BigIntStats;
  try {
    stats = await describe(target);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
    try {
      return await (options.staged === true ? createStaged(job) : createDirectly(job));
    } catch (failure) {
      if (systemCode(failure) === "EEXIST") return undefined;
      throw failure;
    }
  }
  refuseUnusable(stats, place.name, "create", true);
  if (stats.isBlockDevice()) {
    const storage = await openFile(
      place,
      { writable: true, direct: options.direct },
      libc,
      "create",
    );
    return endingOnce(
      storage,
      undefined,
      () => Promise.resolve(),
      () => Promise.resolve(),
    );
  }
  try {
    return await createOver(job);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Makes a new file, or one that will replace an existing file when it is published, and locks it.
 *
 * - Nothing has the name: it is made under its own name, or with `staged` under a temporary one
 *   beside it.
 * - A regular file has it: the new one is written beside it under a temporary name and takes over
 *   its owner and mode. The old one stays locked until then. Where the old one cannot be replaced
 *   (more than one hard link, a mount point, a directory that cannot be written, an owner that
 *   cannot be given), it is emptied and written in place.
 * - A block device is opened as it is.
 *
 * The caller closes the storage; `discard` is best called after that. Nothing here flushes: call
 * `flush` before `publish` where the file has to survive a power failure.
 *
 * Throws `E_NOT_FOUND` (the directory), `E_PERMISSION`, `E_IS_DIRECTORY`, `E_LOCKED`, `E_NO_SPACE`.
 */
export async function createFile(
  place: Place,
  options: CreateStorageOptions,
  surroundings: Surroundings,
): Promise<NewStorage> {
  try {
    for (let i = 0; i < patience; i++) {
      const target = await followLinks(place.path, place.name);
      const made = await attempt({ ...surroundings, place, target, options });
      if (made !== undefined) return made;
    }
  } catch (error) {
    throw directError(error, options.direct, "create", place.name);
  }
  throw systemError("EBUSY", "create", place.name);
}
