import type { Parsed } from "./parse.ts";
import type { Session } from "./session.ts";

/** Which program this is: `qemu-img` with its exact output, or `platter`. */
export type Face = "qemu" | "platter";

/** Headings that options are listed under. */
export type OptionGroup = "Images" | "Result" | "Behaviour" | "Output" | "For qemu-img's sake";

/** One option of a command. */
export interface OptionSpec {
  /** What the option is called in {@link Parsed}. */
  readonly id: string;
  readonly short?: string;
  /** Long name in both faces, without dashes. */
  readonly long?: string;
  /** Further long name in the `platter` face, where qemu-img has none or a clumsy one. */
  readonly friendly?: string;
  /** Name of the argument; without one the option is a switch. */
  readonly argument?: string;
  /** What a shell may put in for the argument; anything by default. */
  readonly completes?: "format" | "file" | "directory" | readonly string[];
  readonly summary: string;
  readonly group: OptionGroup;
  /** Given more than once, every value counts; otherwise the last one does. */
  readonly repeatable?: boolean;
  /** Only this face has the option. */
  readonly face?: Face;
  /** What is better than in qemu-img, for the reference page: a sentence. */
  readonly better?: string;
  /** What is not as in qemu-img, and why, for the reference page: sentences. */
  readonly different?: string;
  /** Understood and refused: another version will have it. Not listed in help. */
  readonly refused?: boolean;
  /** Looks at the value as soon as it is read, as qemu-img does; throws if it is wrong. */
  readonly check?: (value: string, session: Session) => void;
}

/** A command line worth showing. */
export interface Example {
  /** Without the program's name. */
  readonly line: string;
  readonly explanation: string;
}

/** One command: its entry in the table. */
export interface CommandSpec {
  readonly name: string;
  /** Only this face has the command. */
  readonly face?: Face;
  /** One line. */
  readonly summary: string;
  /** What else there is to know, in sentences. */
  readonly description: string;
  /** How operands are written in the synopsis. */
  readonly operands: string;
  /** What a shell may put in for operands; files by default. */
  readonly completes?: "file" | "directory" | readonly string[];
  readonly options: readonly OptionSpec[];
  readonly examples: readonly Example[];
  /** Exit codes besides 0 and 1. */
  readonly exitCodes?: ReadonlyArray<readonly [code: number, meaning: string]>;
  /**
   * The last word is an operand even if it looks like an option: a size to take away, as in
   * `resize disk.img -1M`.
   */
  readonly lastWordIsOperand?: boolean;
  /** Checks what was parsed, calls the command function, shows the result; returns the exit code. */
  readonly run: (parsed: Parsed, session: Session) => Promise<number>;
}
