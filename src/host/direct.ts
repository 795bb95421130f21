import { RangeLock } from "../disk/index.ts";
import { FilterStorage, type StorageCall } from "../storage/index.ts";
import { pagesOf } from "./aligned.ts";
import { hostError } from "./errors.ts";
import type { FileStorage } from "./file.ts";
import { readBlocks } from "./positional.ts";

/** Offsets, lengths and memory of direct I/O are multiples of this; enough for every disk there is. */
const usualBlock = 4096;
/** The block of devices whose size is no multiple of the usual one. */
const smallBlock = 512;
/** Bytes moved at once. */
const pieceBytes = 1024 * 1024;

/**
 * A file or device that was opened with O_DIRECT. Such a descriptor takes whole blocks from aligned
 * memory only: everything goes through buffers of its own, what is less than a block is read before
 * it is written, and a file keeps its length to the byte.
 */
export class DirectStorage extends FilterStorage {
  private readonly file: FileStorage;
  private readonly block: number;
  private readonly free: Uint8Array[] = [];
  /** Two writes to one block would each bring back the other's old half. */
  private readonly writes = new RangeLock();

  constructor(file: FileStorage) {
    super(file);
    this.file = file;
    this.block = file.isDevice && file.size % usualBlock !== 0 ? smallBlock : usualBlock;
    // The bounce buffers need time between reading and writing: there is no synchronous way.
    Object.assign(this, { readSync: undefined, writeSync: undefined });
    if (file.write !== undefined) {
      Object.assign(this, {
        write: (offset: number, from: Uint8Array) => this.writeThroughBlocks(offset, from),
      });
    }
    this.lock = (mode) => file.lock(mode);
  }

  readonly lock: FileStorage["lock"];

  /** {@inheritDoc Storage.read} */
  override async read(offset: number, into: Uint8Array): Promise<number> {
    const { block } = this;
    let done = 0;
    while (done < into.length) {
      const at = offset + done;
      const start = at - (at % block);
      const length = Math.min(pieceBytes, this.roundUp(offset + into.length - start));
      const count = await this.bounce(async (buffer) => {
        const found = await this.readAt(start, buffer.subarray(0, length));
        const useful = Math.max(0, Math.min(found - (at - start), into.length - done));
        into.set(buffer.subarray(at - start, at - start + useful), done);
        return useful;
      });
      done += count;
      if (count < Math.min(length - (at - start), into.length - (done - count))) break;
    }
    return done;
  }

  private async writeThroughBlocks(offset: number, from: Uint8Array): Promise<void> {
    const end = offset + from.length;
    if (end === offset) return;
    const { block } = this;
    const first = offset - (offset % block);
    // Cutting off what a last block has too much must not cut off what others wrote behind it.
    const isCut = end % block !== 0 && this.roundUp(end) > this.file.size;
    const { release } = await this.writes.claim(first, isCut ? Infinity : this.roundUp(end));
    try {
      for (let start = first; start < end; start += pieceBytes) {
        await this.writePiece(start, Math.min(start + pieceBytes, this.roundUp(end)), offset, from);
      }
    } finally {
      release();
    }
  }

  /** Writes the blocks [start, stop), of which `from` fills what it covers. */
  private writePiece(start: number, stop: number, offset: number, from: Uint8Array): Promise<void> {
    const { block } = this;
    const { size } = this.file;
    const end = offset + from.length;
    return this.bounce(async (buffer) => {
      const bytes = buffer.subarray(0, stop - start);
      if (start < offset) await this.fill(start, bytes.subarray(0, block));
      if (stop > end && (start >= offset || stop - start > block)) {
        await this.fill(stop - block, bytes.subarray(bytes.length - block));
      }
      const a = Math.max(start, offset);
      const b = Math.min(stop, end);
      bytes.set(from.subarray(a - offset, b - offset), a - start);
      await this.file.write!(start, bytes);
      // The last block may reach past what was asked for.
      if (stop > end && end >= size) await this.file.truncate?.(end);
      else if (stop > size && size > end) await this.file.truncate?.(size);
    });
  }

  private roundUp(offset: number): number {
    return Math.ceil(offset / this.block) * this.block;
  }

  private async fill(at: number, bytes: Uint8Array): Promise<void> {
    const count = await this.readAt(at, bytes);
    bytes.fill(0, count);
  }

  private async readAt(at: number, bytes: Uint8Array): Promise<number> {
    try {
      const count = await readBlocks(this.file.fd, bytes, at, this.block);
      this.file.mustReach(at + count, at + bytes.length);
      return count;
    } catch (error) {
      throw hostError(error, "read", this.name, at);
    }
  }

  /** Runs `work` with an aligned buffer that nobody else uses meanwhile. */
  private async bounce<T>(work: (buffer: Uint8Array) => Promise<T>): Promise<T> {
    const buffer = this.free.pop() ?? pagesOf(pieceBytes);
    try {
      return await work(buffer);
    } finally {
      this.free.push(buffer);
    }
  }

  protected override around<T>(_call: StorageCall, run: () => Promise<T>): Promise<T> {
    return run();
  }

  protected override aroundSync<T>(_call: StorageCall, run: () => T): T {
    return run();
  }
}
