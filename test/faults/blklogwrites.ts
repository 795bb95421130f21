/** An image seen through a FUSE export of `qemu-storage-daemon`, every write and flush of which is logged. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Recorded } from "../../src/storage/index.ts";
import { startDaemon } from "../host-peer.ts";

const sector = 512;
/** Flags of an entry: `block/blklogwrites.c`, as the kernel's dm-log-writes has them. */
const flags = { flush: 1n, fua: 2n, discard: 4n };

/** A file whose writes are logged. */
export class LoggedFile implements AsyncDisposable {
  /** The file through which the image is used. */
  readonly mount: string;
  private readonly path: string;
  private readonly stop: () => Promise<void>;

  private constructor(mount: string, path: string, stop: () => Promise<void>) {
    this.mount = mount;
    this.path = path;
    this.stop = stop;
  }

  /** Shows the file `image` as `name` in `directory`. */
  static async start(directory: string, name: string, image: string): Promise<LoggedFile> {
    const log = `${image}.log`;
    const mount = join(directory, name);
    for (const file of [log, mount]) writeFileSync(file, new Uint8Array(sector));
    const fuse = `fuse,id=export,node-name=logged,mountpoint=${mount},writable=on,growable=on`;
    const daemon = await startDaemon(
      [
        `--blockdev=file,node-name=image,filename=${image}`,
        `--blockdev=file,node-name=log,filename=${log}`,
        "--blockdev=blklogwrites,node-name=logged,file=image,log=log",
        `--export=${fuse}`,
      ],
      directory,
    );
    return new LoggedFile(mount, log, () => daemon.stop());
  }

  /** What has been done so far, in order. Lengths that were changed without writing are not in the log. */
  log(): Recorded[] {
    const bytes = readFileSync(this.path);
    const entries: Recorded[] = [];
    // The superblock's own count is brought up to date now and then only.
    for (let at = sector; at + sector <= bytes.length;) {
      const offset = Number(bytes.readBigUInt64LE(at)) * sector;
      const length = Number(bytes.readBigUInt64LE(at + 8)) * sector;
      const flag = bytes.readBigUInt64LE(at + 16);
      at += sector;
      if ((flag & flags.discard) !== 0n)
        entries.push({ kind: "zero", offset, length, unmap: true });
      else if (length > 0) {
        entries.push({ kind: "write", offset, bytes: bytes.subarray(at, at + length) });
        at += length;
      }
      if ((flag & (flags.flush | flags.fua)) !== 0n) entries.push({ kind: "flush" });
    }
    return entries;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
