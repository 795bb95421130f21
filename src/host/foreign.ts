import { createRequire } from "node:module";
import { ownParts } from "./one-file.ts";

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

/**
 * Loads koffi, an optional dependency. Throws when it is not installed. What is used of it is in the native
 * module, which lies in a package of its own for each platform: finding out which one it is takes `koffi` longer
 * than all the rest of our start.
 */
export function requireKoffi(): ForeignInterface {
  const parts = ownParts();
  if (parts !== undefined) {
    if (parts.native === undefined) throw new Error("koffi could not be unpacked");
    return loadNative(parts.native);
  }
  const load = createRequire(import.meta.url);
  const { platform, arch } = process;
  const native = `@koromix/koffi-${platform}-${arch}/${platform}_${arch}/koffi.node`;
  try {
    return load(native) as ForeignInterface;
  } catch {
    return load("koffi") as ForeignInterface;
  }
}

/** Loads koffi's native module from a file. One that has been loaded before need not be there any more. */
export function loadNative(file: string): ForeignInterface {
  const module: { exports: Partial<ForeignInterface> } = { exports: {} };
  process.dlopen(module, file);
  return module.exports as ForeignInterface;
}
