import type { PlaceSums } from "./placement.ts";

/**
 * How an image was preallocated, as far as it can be told from what is there. `full`: or wholly
 * written since, which looks the same. `mixed`: parts of it in different ways. `unknown`: the host
 * does not tell.
 */
export type DetectedPreallocation = "off" | "metadata" | "falloc" | "full" | "mixed" | "unknown";

/** A way counts as the only one when the others have less than this share of what is unwritten. */
const noise = 0.01;

/**
 * Tells the preallocation mode from what has not been written yet: nothing is there (off), places on
 * holes (metadata), places in reserved space (falloc); where everything has been written, full.
 */
export function detectPreallocation({ places, besideWritten }: PlaceSums): DetectedPreallocation {
  const ways: ReadonlyArray<readonly [DetectedPreallocation, number]> = [
    ["off", places.none + places.zero],
    ["metadata", places.hole],
    ["falloc", places.reserved - besideWritten],
    ["unknown", places.unknown],
  ];
  // Places that the host tells nothing of are just data where there is room without a place.
  const known = places.none + places.zero > 0 ? ways.filter(([way]) => way !== "unknown") : ways;
  const unwritten = known.reduce((sum, [, bytes]) => sum + bytes, 0);
  // A raw file whose length is no multiple of a sector lacks the rest of its last one.
  if (unwritten < 512) return places.written + places.compressed > 0 ? "full" : "off";
  const main = known.find(([, bytes]) => bytes >= unwritten * (1 - noise));
  return main === undefined ? "mixed" : main[0];
}
