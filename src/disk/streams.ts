import { PlatterError, throwIfAborted } from "../errors.ts";
import type { Disk } from "./disk.ts";

/** A range of the disk, and how to move it. */
export interface StreamOptions {
  /** Guest offset to start at; default 0. */
  readonly start?: number;
  /** Guest offset to end at (exclusive); default the size of the disk. */
  readonly end?: number;
  /** Bytes a chunk; default 1 MiB. */
  readonly chunkSize?: number;
  readonly signal?: AbortSignal | undefined;
}

const defaultChunk = 1024 * 1024;

/**
 * A byte stream of the guest bytes [start, end). Throws `E_INVALID_ARGUMENT` for chunks of an
 * impossible size; all other errors, `E_OUT_OF_RANGE` included, end up in the stream.
 */
export function readable(disk: Disk, options: StreamOptions = {}): ReadableStream<Uint8Array> {
  const { start = 0, end = disk.size, chunkSize = defaultChunk, signal } = options;
  if (!Number.isInteger(chunkSize) || chunkSize < 1) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${disk.name}: chunkSize is ${chunkSize}; it has to be a whole number of bytes from 1 up`,
      { file: disk.name, field: "chunkSize", value: chunkSize },
    );
  }
  let at = start;
  return new ReadableStream<Uint8Array>(
    {
      async start() {
        disk.checkRange(start, end - start);
      },
      async pull(controller) {
        throwIfAborted(signal);
        if (at >= end) {
          controller.close();
          return;
        }
        const chunk = new Uint8Array(Math.min(chunkSize, end - at));
        await disk.read(at, chunk);
        at += chunk.length;
        controller.enqueue(chunk);
      },
    },
    { highWaterMark: 1 },
  );
}

/**
 * A stream that writes what it is given from `start` on, and flushes when it is closed. Writing past
 * `end`, or a range that is not inside the disk, fails with `E_OUT_OF_RANGE`.
 */
export function writable(disk: Disk, options: StreamOptions = {}): WritableStream<Uint8Array> {
  const { start = 0, end = disk.size, signal } = options;
  let at = start;
  return new WritableStream<Uint8Array>({
    async start() {
      disk.checkRange(start, end - start);
    },
    async write(chunk) {
      throwIfAborted(signal);
      disk.checkRange(at, chunk.length, end);
      await disk.write(at, chunk);
      at += chunk.length;
    },
    close: () => disk.flush(),
  });
}
