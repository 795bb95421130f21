/** A filesystem of its own for a test, as small as that needs it to be. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { system } from "./kit.ts";

/** A tmpfs whose size can be changed, and what there is no room left in. */
export class SmallDisk {
  readonly directory = mkdtempSync(join(tmpdir(), "platter-full-"));
  readonly all = 64 << 20;

  constructor() {
    try {
      system("mount", "-t", "tmpfs", "-o", `size=${this.all}`, "tmpfs", this.directory);
    } catch (error) {
      rmSync(this.directory, { recursive: true });
      throw error;
    }
  }

  get used(): number {
    const { blocks, bfree, bsize } = statfsSync(this.directory);
    return (blocks - bfree) * bsize;
  }

  /** Leaves so many bytes of room. */
  leave(bytes: number): void {
    const size = Math.min(this.all, this.used + bytes);
    system("mount", "-o", `remount,size=${size}`, this.directory);
  }

  remove(): void {
    system("umount", this.directory);
    rmSync(this.directory, { recursive: true });
  }
}

/**
 * The same on a real disk: ext4 in a file on a loop device, with a file in it that takes the room. Space is promised
 * there when it is written and found when it is flushed, freed when the journal says so, and reserved as unwritten.
 */
export class SmallExt4 {
  readonly directory = mkdtempSync(join(tmpdir(), "platter-ext4-"));
  readonly all = 40 << 20;
  private readonly file = `${this.directory}.img`;
  private readonly filler = join(this.directory, "filler");

  constructor() {
    try {
      system("truncate", "-s", "48M", this.file);
      system("mkfs.ext4", "-q", "-m", "0", this.file);
      system("mount", "-o", "loop", this.file, this.directory);
    } catch (error) {
      rmSync(this.directory, { recursive: true });
      rmSync(this.file, { force: true });
      throw error;
    }
  }

  private get free(): number {
    system("sync", "-f", this.directory);
    const { bavail, bsize } = statfsSync(this.directory);
    return bavail * bsize;
  }

  get used(): number {
    system("sync", "-f", this.directory);
    const { blocks, bfree, bsize } = statfsSync(this.directory);
    return (blocks - bfree) * bsize;
  }

  /** Leaves so many bytes of room, or a little more. */
  leave(bytes: number): void {
    rmSync(this.filler, { force: true });
    if (bytes >= this.all) return;
    // The filler itself needs blocks for its extents: how many, only trying tells.
    for (let surplus = this.free - bytes; surplus > 0; surplus -= 4096) {
      const { status } = spawnSync("fallocate", ["-l", String(surplus), this.filler]);
      if (status === 0) return;
      rmSync(this.filler, { force: true });
    }
  }

  remove(): void {
    system("umount", this.directory);
    rmSync(this.directory, { recursive: true });
    rmSync(this.file);
  }
}

/** A small disk, or undefined where none can be mounted; why not is said. */
export function openSmallDisk<T>(kind: string, make: new () => T): T | undefined {
  try {
    return new make();
  } catch (error) {
    process.stdout.write(`full disk: skipped, no ${kind} can be mounted: ${String(error)}\n`);
    return undefined;
  }
}
