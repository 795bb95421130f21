import { close, fdatasync, fsync, ftruncate, read, readSync, write, writeSync } from "node:fs";
import { systemCode } from "./errors.ts";
import { promised } from "./promised.ts";

/** Linux moves at most 2 GiB less a page in one call, and Node has a limit of its own near it. */
const largestCall = 2 ** 30;

/**
 * A write of 2 MiB at a multiple of it makes Linux look for as much memory in one piece, which can take ten
 * times as long as copying the data does: a virtual machine may have given such pieces back to its host.
 */
const largestWrite = 2 ** 20;

const interrupted = (error: unknown): boolean => systemCode(error) === "EINTR";

const piece = (bytes: Uint8Array, done: number, largest = largestCall): number =>
  Math.min(bytes.length - done, largest);

function readOnce(fd: number, into: Uint8Array, done: number, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, into, done, piece(into, done), offset + done, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

function writeOnce(fd: number, from: Uint8Array, done: number, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, from, done, piece(from, done, largestWrite), offset + done, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

/** Fills `into` from `offset` on; resolves to fewer bytes only at the end of the file. */
export async function readFull(fd: number, into: Uint8Array, offset: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    try {
      const count = await readOnce(fd, into, done, offset);
      if (count === 0) break;
      done += count;
    } catch (error) {
      if (!interrupted(error)) throw error;
    }
  }
  return done;
}

/**
 * As {@link readFull} for a descriptor that takes whole blocks only: what ends inside a block ends
 * with the file, and nothing is asked for behind it.
 */
export async function readBlocks(
  fd: number,
  into: Uint8Array,
  offset: number,
  block: number,
): Promise<number> {
  let done = 0;
  while (done < into.length) {
    try {
      const count = await readOnce(fd, into, done, offset);
      done += count;
      if (count === 0 || done % block !== 0) break;
    } catch (error) {
      if (!interrupted(error)) throw error;
    }
  }
  return done;
}

/** As {@link readFull}, without leaving the thread. */
export function readFullSync(fd: number, into: Uint8Array, offset: number): number {
  let done = 0;
  while (done < into.length) {
    try {
      const count = readSync(fd, into, done, piece(into, done), offset + done);
      if (count === 0) break;
      done += count;
    } catch (error) {
      if (!interrupted(error)) throw error;
    }
  }
  return done;
}

/** Writes all of `from` at `offset`. */
export async function writeFull(fd: number, from: Uint8Array, offset: number): Promise<void> {
  let done = 0;
  while (done < from.length) {
    try {
      done += await writeOnce(fd, from, done, offset);
    } catch (error) {
      if (!interrupted(error)) throw error;
    }
  }
}

/** As {@link writeFull}, without leaving the thread. */
export function writeFullSync(fd: number, from: Uint8Array, offset: number): void {
  let done = 0;
  while (done < from.length) {
    try {
      done += writeSync(fd, from, done, piece(from, done, largestWrite), offset + done);
    } catch (error) {
      if (!interrupted(error)) throw error;
    }
  }
}

/** Resolves when data, and the metadata needed to find it, is on stable storage. */
export const syncData = (fd: number): Promise<void> => promised((done) => fdatasync(fd, done));

/** As {@link syncData}, with all that is known of the file. */
export const syncAll = (fd: number): Promise<void> => promised((done) => fsync(fd, done));

/** Sets the length of the file. */
export const setLength = (fd: number, size: number): Promise<void> =>
  promised((done) => ftruncate(fd, size, done));

/** Closes the descriptor. */
export const closeDescriptor = (fd: number): Promise<void> => promised((done) => close(fd, done));
