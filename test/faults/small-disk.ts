/** A filesystem of its own for a test, as small as that needs it to be. */
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

/** A small disk, or undefined where none can be mounted; why not is said. */
export function openSmallDisk(): SmallDisk | undefined {
  try {
    return new SmallDisk();
  } catch (error) {
    process.stdout.write(`full disk: skipped, no tmpfs can be mounted: ${String(error)}\n`);
    return undefined;
  }
}
