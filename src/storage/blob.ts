import { PlatterError } from "../errors.ts";
import { checkRange, refuseClosed } from "./range.ts";
import type { Storage } from "./storage.ts";

/**
 * A `Blob` or `File` of a browser, read only. Nothing is loaded but the slices that are read.
 *
 * Reading throws `E_IO` when the browser refuses, as it does after the file behind a `File` was
 * changed or removed.
 */
export class BlobStorage implements Storage {
  readonly name: string;
  readonly size: number;
  readonly #blob: Blob;
  #closed = false;

  /** `name` defaults to the file's name, without a folder, or `blob`. */
  constructor(blob: Blob, name?: string) {
    this.#blob = blob;
    this.size = blob.size;
    this.name = name ?? (blob instanceof File && blob.name !== "" ? blob.name : "blob");
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    refuseClosed(this, this.#closed);
    checkRange(this, offset, into.length);
    const end = Math.min(this.size, offset + into.length);
    if (offset >= end) return 0;
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(await this.#blob.slice(offset, end).arrayBuffer());
    } catch (cause) {
      throw new PlatterError(
        "E_IO",
        `${this.name}: the browser cannot read ${end - offset} bytes at offset ${offset}. ` +
          "If the file has changed since it was chosen, choose it again.",
        { file: this.name, offset, cause },
      );
    }
    into.set(bytes);
    return bytes.length;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }
}
