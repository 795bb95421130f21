import { close, fdatasync, fsync, ftruncate, read, readSync, write, writeSync } from "node:fs";
import { systemCode } from "./errors.ts";
import { promised } from "./promised.ts";

/** Linux moves at most 2 GiB less a page in one call, and Node has a limit of its own near it. */
const largestCall = 2 ** 30;

/**
 * Linux looks for memory in one piece for as much of its page cache as a write is long. A virtual machine gives large
 * free pieces back to its host, and getting one again takes many times as long as copying the data: 1.1 GB in
 * writes of 2 MiB took 2.7 s where 128 KiB took 0.4.
 */
const largestWrite = 2 ** 17;

/** A write that took so many milliseconds has waited for the disk: the next ones do that on another thread. */
const slowWrite = 10;

/** For so many milliseconds, then. */
const slowFor = 1000;

/** So many milliseconds of writing on this thread, before others get their turn: signals, timers. */
const atATime = 8;

/** When writing on this thread has been slow, and when it let others have their turn. */
let slowAt = -Infinity;
let turnAt = -Infinity;

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

/**
 * Writes all of `from` at `offset`. The page cache takes a piece in less time than having another thread write it
 * costs, so that is left to others only while the disk is what everybody waits for.
 */
export async function writeFull(fd: number, from: Uint8Array, offset: number): Promise<void> {
  let done = 0;
  while (done < from.length) {
    const start = performance.now();
    try {
      if (start - slowAt < slowFor) {
        done += await writeOnce(fd, from, done, offset);
        continue;
      }
      if (start - turnAt > atATime) {
        await new Promise((resolve) => setImmediate(resolve));
        turnAt = performance.now();
      }
      done += writeSync(fd, from, done, piece(from, done, largestWrite), offset + done);
      const end = performance.now();
      if (end - start > slowWrite) slowAt = end;
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
