import { createRequire } from "node:module";

/** A C function: call it, or have it called on a thread of its own. */
export type ForeignFunction = ((...values: unknown[]) => unknown) & {
  readonly async: (...values: unknown[]) => void;
};

/** The part of koffi that is used. */
export interface ForeignInterface {
  /** A shared library; `null` stands for the program itself and what it is linked with. */
  load(library: string | null): { func(prototype: string): ForeignFunction };
  errno(): number;
  /** Where the bytes lie in memory. */
  address(bytes: Uint8Array): bigint;
}

/** Loads koffi, an optional dependency. Throws when it is not installed. */
export const requireKoffi = (): ForeignInterface =>
  createRequire(import.meta.url)("koffi") as ForeignInterface;
