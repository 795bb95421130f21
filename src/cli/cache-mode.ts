import type { OptionSpec } from "./spec.ts";
import { argumentError } from "./usage.ts";

/** What a cache mode means for an image. */
export interface CacheMode {
  /** Past the host's page cache. */
  readonly direct: boolean;
  /** Every write is followed by a flush. */
  readonly writethrough: boolean;
  /** Nothing is ever flushed. */
  readonly unsafe: boolean;
}

const modes: Readonly<Record<string, CacheMode>> = {
  none: { direct: true, writethrough: false, unsafe: false },
  off: { direct: true, writethrough: false, unsafe: false },
  directsync: { direct: true, writethrough: true, unsafe: false },
  writeback: { direct: false, writethrough: false, unsafe: false },
  writethrough: { direct: false, writethrough: true, unsafe: false },
  unsafe: { direct: false, writethrough: false, unsafe: true },
};

/** `-T`: how sources are cached. */
export const sourceCacheOption: OptionSpec = {
  id: "sourceCache",
  short: "T",
  argument: "src_cache",
  completes: Object.keys(modes),
  summary:
    "cache mode for reading: none and directsync go past the host's page cache, writeback, writethrough and unsafe are alike",
  group: "Behaviour",
};

/** The cache mode of that name. `what` is how qemu-img calls it in its message. */
export function readCacheMode(value: string, what = "cache option"): CacheMode {
  const mode = Object.hasOwn(modes, value) ? modes[value] : undefined;
  if (mode !== undefined) return mode;
  const names = Object.keys(modes).filter((name) => name !== "off");
  throw argumentError(
    what,
    value,
    `"${value}" is not a cache mode: use ${names.join(", ")}.`,
    what === "" ? "Invalid cache mode" : `Invalid ${what}: ${value}`,
  );
}
