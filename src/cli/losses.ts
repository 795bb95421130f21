import { PlatterError } from "../errors.ts";
import type { Parsed } from "./parse.ts";
import type { Session } from "./session.ts";

/** Guest bytes that could not be read. */
type LostRange = { readonly start: number; readonly length: number };

const sector = 512;

/** What the system says of the error; QEMU has no other words for damage found by itself. */
function systemText(error: unknown): string {
  const details = error instanceof PlatterError ? error.details : {};
  const isSystems = typeof details.value === "string" && /^E[A-Z0-9]+$/.test(details.value);
  return (isSystems ? details.qemu : undefined) ?? "Input/output error";
}

/** What `convert --salvage` could not read: told at once as qemu-img does, and in the end as ranges. */
export class Losses {
  readonly ranges: LostRange[] = [];
  private readonly session: Session;
  private readonly isQuiet: boolean;

  constructor(parsed: Pick<Parsed, "has">, session: Session) {
    this.session = session;
    this.isQuiet = parsed.has("quiet");
  }

  /** The sector at guest offset `at` could not be read. */
  readonly add = (at: number, error: unknown): void => {
    const last = this.ranges.at(-1);
    if (last !== undefined && last.start + last.length === at) {
      this.ranges[this.ranges.length - 1] = { start: last.start, length: last.length + sector };
    } else this.ranges.push({ start: at, length: sector });
    if (this.session.face === "platter" || this.isQuiet) return;
    this.session.warn(`error while reading offset ${BigInt(at)}: ${systemText(error)}`);
  };

  /** Tells people which ranges are zeros now. */
  show(): void {
    for (const { start, length } of this.ranges) {
      const range = `${BigInt(start)} to ${BigInt(start + length)}`;
      this.session.warn(`guest bytes ${range} could not be read and are zeros in the copy`);
    }
  }
}
