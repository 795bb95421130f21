import type { StorageExtent } from "../storage/index.ts";
import { errno } from "./errno.ts";
import { Seek } from "./libc.ts";
import type { Libc } from "./libc.ts";

/**
 * Where the holes of an open file are, by SEEK_DATA and SEEK_HOLE. Remembers the run that was
 * answered last, because callers walk through a run in many small steps.
 */
export class Extents {
  readonly #libc: Libc;
  readonly #fd: number;
  #supported = true;
  #start = 0;
  #last: StorageExtent | undefined;

  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
  }

  /** Forgets what was remembered: the file has changed. */
  forget(): void {
    this.#last = undefined;
  }

  /** The run that `offset` lies in, cut at `size`; undefined where the file cannot tell. */
  at(offset: number, size: number): StorageExtent | undefined {
    if (!this.#supported || offset >= size) return undefined;
    const last = this.#last;
    if (last !== undefined && offset >= this.#start && offset < last.end) return last;
    const answer = this.#seek(offset, size);
    this.#start = offset;
    this.#last = answer;
    return answer;
  }

  #seek(offset: number, size: number): StorageExtent | undefined {
    const data = this.#libc.lseek(this.#fd, offset, Seek.data);
    if (data === -errno("ENXIO")) return { end: size, data: false };
    if (data < 0) {
      // Asking again would get the same answer: this file, or its filesystem, does not know.
      this.#supported = false;
      return undefined;
    }
    if (data > offset) return { end: Math.min(data, size), data: false };
    const hole = this.#libc.lseek(this.#fd, offset, Seek.hole);
    // Somebody may have cut the file or punched a hole between the two questions. Calling it data
    // is always true, only slower.
    return hole > offset ? { end: Math.min(hole, size), data: true } : undefined;
  }
}
