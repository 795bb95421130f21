import { PlatterError } from "../../errors.ts";
import type { InvalidDetails } from "./invalid.ts";

/**
 * What happens when an image turns out to be damaged while somebody works with it. As in QEMU the user is
 * told once, and what is open for writing is marked as corrupt and not used any more, before a write on the
 * strength of wrong tables does more harm. An image that is open for reading goes on with what is sound.
 */
export class Corruption {
  /** The image must not be used any more. */
  isFatal = false;
  private told = false;
  private readonly file: string;
  private readonly tell: ((message: string) => void) | undefined;
  private readonly mark: (() => Promise<void>) | undefined;

  /**
   * `tell` receives what QEMU prints on stderr. `mark` sets the corrupt bit in the header; absent, the
   * image is open for reading.
   */
  constructor(
    file: string,
    tell: ((message: string) => void) | undefined,
    mark: (() => Promise<void>) | undefined,
  ) {
    this.file = file;
    this.tell = tell;
    this.mark = mark;
  }

  /**
   * Marks the image if it can be written, and returns the error to be thrown. `text` is QEMU's; `details`
   * say where it was found.
   */
  async signal(text: string, details: InvalidDetails = {}): Promise<PlatterError> {
    const { file } = this;
    const marks = this.mark !== undefined;
    if (marks) {
      if (!this.isFatal) this.say(`Marking image as corrupt: ${text}; further corruption`);
      this.isFatal = true;
      // A header that cannot be written is one more reason not to go on.
      await this.mark().catch(() => undefined);
    } else this.note(text);
    const advice = `${marks ? "the image has been marked as corrupt; " : ""}run "check -r all" on it`;
    return new PlatterError("E_CORRUPT", `${file}: ${text}; ${advice}`, {
      ...details,
      file,
      qemu: "Input/output error",
    });
  }

  /** Tells of damage that is not in the way, unless the user knows already that there is some. */
  note(text: string): void {
    if (!this.told) this.say(`Image is corrupt: ${text}; further non-fatal corruption`);
  }

  /** Throws `E_CORRUPT_BIT` once the image must not be used any more. */
  refuseUse(): void {
    if (!this.isFatal) return;
    const { file } = this;
    throw new PlatterError(
      "E_CORRUPT_BIT",
      `${file}: the image was found to be corrupt and is not used any more; close it and run ` +
        `"check -r all" on it`,
      { file, field: "incompatible_features", qemu: "No medium found" },
    );
  }

  private say(what: string): void {
    this.told = true;
    this.tell?.(`qcow2: ${what} events will be suppressed`);
  }
}
