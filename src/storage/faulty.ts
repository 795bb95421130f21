import { PlatterError } from "../errors.ts";
import { FilterStorage } from "./filter.ts";
import type { StorageCall } from "./filter.ts";
import { RangeSet } from "./range-set.ts";
import type { Storage } from "./storage.ts";

/** A call that is to fail. */
export interface Fault {
  /** Which method; `read` and `write` also stand for their synchronous forms. */
  readonly on: StorageCall["kind"];
  /** Which call of that method, counted from 1. Default: 1. */
  readonly nth?: number;
  /** Whether all later calls of the method fail as well. Default: false. */
  readonly andAfter?: boolean;
  /** What it fails with. Default: `E_IO`. */
  readonly error?: PlatterError;
}

/** What goes wrong with a {@link FaultyStorage}. */
export interface FaultyStorageOptions {
  readonly faults?: readonly Fault[];
  /**
   * A disk that fills up: how many bytes of blocks may be taken in addition to those that are in use
   * at first. A write or allocation that needs more fails with `E_NO_SPACE`. Default: no limit.
   */
  readonly freeSpace?: number;
}

/** Bytes in a block of the disk that fills up. */
const blockSize = 4096;

/**
 * A storage that fails where a test wants it to. A call that fails has changed nothing; the storage
 * behind does not see it.
 */
export class FaultyStorage extends FilterStorage {
  /** How often each method has been called, failed calls included. */
  readonly calls: Readonly<Record<StorageCall["kind"], number>>;
  readonly #calls: Record<StorageCall["kind"], number>;
  readonly #faults: readonly Fault[];
  /** Blocks that hold data or are reserved. */
  readonly #used = new RangeSet();
  /** How many blocks may be in use. */
  readonly #capacity: number;

  constructor(inner: Storage, options: FaultyStorageOptions = {}) {
    super(inner);
    this.#calls = { read: 0, write: 0, flush: 0, truncate: 0, zero: 0, allocate: 0 };
    this.calls = this.#calls;
    this.#faults = options.faults ?? [];
    for (let at = 0; at < inner.size;) {
      const { end, data } = inner.extent?.(at) ?? { end: inner.size, data: true };
      if (data) this.#used.add(Math.floor(at / blockSize), Math.ceil(end / blockSize));
      at = end;
    }
    this.#capacity = this.#used.count + Math.floor((options.freeSpace ?? Infinity) / blockSize);
  }

  protected override async around<T>(call: StorageCall, run: () => Promise<T>): Promise<T> {
    this.#failIfDue(call);
    const result = await run();
    if (result !== false) this.#release(call);
    return result;
  }

  protected override aroundSync<T>(call: StorageCall, run: () => T): T {
    this.#failIfDue(call);
    return run();
  }

  #failIfDue(call: StorageCall): void {
    const count = ++this.#calls[call.kind];
    for (const { on, nth = 1, andAfter = false, error } of this.#faults) {
      if (on !== call.kind || !(count === nth || (andAfter && count > nth))) continue;
      throw (
        error ??
        new PlatterError("E_IO", `${this.name}: ${on} number ${count} failed, as it was told to.`, {
          file: this.name,
        })
      );
    }
    const wanted = blocksOf(call);
    if (wanted) this.#take(wanted.first, wanted.end);
  }

  #take(first: number, end: number): void {
    const missing = end - first - this.#used.countIn(first, end);
    if (this.#used.count + missing > this.#capacity) {
      throw new PlatterError(
        "E_NO_SPACE",
        `${this.name}: there is no space left for ${missing * blockSize} more bytes. ` +
          "Make room on the disk and try again.",
        { file: this.name, offset: first * blockSize },
      );
    }
    this.#used.add(first, end);
  }

  /** Gives back the whole blocks that a successful call has let go of. */
  #release(call: StorageCall): void {
    if (call.kind === "truncate") this.#used.delete(Math.ceil(call.size / blockSize), Infinity);
    if (call.kind === "zero" && call.unmap) {
      const end = Math.floor((call.offset + call.length) / blockSize);
      this.#used.delete(Math.ceil(call.offset / blockSize), end);
    }
  }
}

/** The blocks that `call` needs to have; undefined where it needs none. */
function blocksOf(call: StorageCall): { readonly first: number; readonly end: number } | undefined {
  const needs =
    call.kind === "write" || call.kind === "allocate" || (call.kind === "zero" && !call.unmap);
  if (!needs) return undefined;
  const length = call.kind === "write" ? call.bytes.length : call.length;
  if (length === 0) return undefined;
  return {
    first: Math.floor(call.offset / blockSize),
    end: Math.ceil((call.offset + length) / blockSize),
  };
}
