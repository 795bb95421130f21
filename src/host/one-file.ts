/**
 * What the program brings in files beside its own code. The program that is one file (`npm run build:binary`)
 * has it inside, and says here where.
 */
export interface Parts {
  /** The native module of koffi, in a file. */
  readonly native: string | undefined;
  /** The code of the threads. */
  readonly workers: Readonly<Record<"codec-worker" | "mover-worker", string>>;
}

let own: Parts | undefined;

/** Says that this program is one file. Called before anything else of this room. */
export function useParts(parts: Parts): void {
  own = parts;
}

/** The parts of a program that is one file; undefined for others. */
export const ownParts = (): Parts | undefined => own;
