import type { Located } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { Range } from "./plan.ts";

/**
 * Whether data is shared with the source instead of copied (`cp --reflink`). `auto`: where it can be; `always`:
 * what cannot be is an error; `never`: all is copied.
 */
export type ShareMode = "auto" | "always" | "never";

/** Blocks of the filesystems that share them; where they are larger, the system says so. */
const smallestBlock = 4096;

/** What is known about sharing between the files of one copy. */
export class Sharing {
  private readonly mode: ShareMode;
  private readonly target: string;
  private readonly unit: number;
  private hasWorked = false;
  private isOff: boolean;

  /** `unit`: what of the target is taken as a whole, in bytes. */
  constructor(mode: ShareMode, target: string, unit: number) {
    this.mode = mode;
    this.target = target;
    this.unit = Math.max(smallestBlock, unit);
    this.isOff = mode === "never";
  }

  /** Whether it is to be tried. */
  get isWanted(): boolean {
    return !this.isOff;
  }

  /** Whether blocks can be shared for all that has been located, as far as their places say. */
  fits({ pieces }: Located, size: number): boolean {
    const { unit } = this;
    return pieces.every(
      ({ at, length, offset }) =>
        at % unit === 0 &&
        offset % smallestBlock === 0 &&
        (length % unit === 0 || at + length === size),
    );
  }

  worked(): void {
    this.hasWorked = true;
  }

  /** The system would not share. Throws as {@link Sharing.copies}. */
  failed(range: Range): void {
    this.copies(range);
    // Files that have never shared anything never will.
    if (!this.hasWorked) this.isOff = true;
  }

  /** A segment is copied. Throws `E_UNSUPPORTED` where it had to be shared. */
  copies({ start, end }: Range): void {
    if (this.mode === "always") {
      throw new PlatterError(
        "E_UNSUPPORTED",
        `${this.target}: the bytes ${start} to ${end} of the disk cannot be shared with the source: they are ` +
          `packed or encrypted there, lie differently, or the filesystem cannot share; copy them ` +
          `(--reflink=auto)`,
        { file: this.target, offset: start },
      );
    }
  }
}
