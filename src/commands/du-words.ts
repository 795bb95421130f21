import { formatSize } from "../bytes/index.ts";
import type { DuResult, ImageUsage } from "./du.ts";

/** Images that the same words are true of, and the words. */
export interface UsageNote {
  readonly filenames: readonly string[];
  /** Whole sentences. */
  readonly text: string;
}

/**
 * Says in words why length, allocation and contents of these images differ, or do not. Images of the
 * same kind share a note.
 */
export function explainUsage({ images }: DuResult): UsageNote[] {
  const notes = new Map<string, string[]>();
  for (const image of images) {
    for (const text of sentences(image)) {
      const filenames = notes.get(text) ?? [];
      notes.set(text, [...filenames, image.filename]);
    }
  }
  return [...notes].map(([text, filenames]) => ({ filenames, text }));
}

function sentences(image: ImageUsage): string[] {
  const all = [image.format === "raw" ? aboutRaw(image) : aboutClusters(image)];
  const { places, virtualSize, allocated, fileLength, backingFilename } = image;
  if (places.compressed > 0) {
    all.push(
      `${percent(places.compressed, virtualSize)} of the disk is compressed: the file holds less than ` +
        `what has been written to it.`,
    );
  }
  // Holes aside, the host rounds up to its blocks; more than that is its own business.
  if (allocated !== undefined && allocated > fileLength + 65536) {
    all.push(
      "The host has allocated more than the file's length: blocks reserved past its end, or for its own lists of blocks.",
    );
  }
  if (backingFilename !== undefined) {
    all.push(`What it is based on, ${backingFilename}, is a file of its own and not counted here.`);
  }
  return all;
}

function aboutRaw({ preallocation, isDevice, places }: ImageUsage): string {
  if (isDevice) {
    return "A device has its size and nothing else: it has no holes that could be found, and `du` does not measure it.";
  }
  switch (preallocation) {
    case "off":
      return "Sparse: the file is as long as the disk, but the host gives it blocks only where something was written; everything else is holes. `ls` shows the length, `du` the blocks.";
    case "falloc":
      return "The host has reserved blocks for the whole length without writing them: `ls` and `du` agree, the space cannot run out, and what was never written reads as zeros.";
    case "full":
      return "Every block has been written, be it with zeros: `ls` and `du` agree. Whether preallocation=full or a guest wrote them does not show.";
    case "mixed":
      return `Parts of the file differ: ${shares(places)}.`;
    default:
      return unknown;
  }
}

const unknown =
  "The host does not tell where the file has holes, so how it was preallocated does not show.";

function aboutClusters({ preallocation, places, written }: ImageUsage): string {
  switch (preallocation) {
    case "off":
      return written === 0
        ? "The file holds little more than empty tables. A cluster is added at its end when the guest first writes there, so it stays shorter than the disk until all of that has been written."
        : "The file holds its tables and the clusters that were written, in the order in which that happened: it grows as the guest writes, and `ls` and `du` both show what is in it.";
    case "metadata":
      return "The tables give every cluster of the disk its place already, so the file is as long as the disk; but the places are holes. `ls` shows the length, `du` only what was written. No space is reserved: the host can still run full.";
    case "falloc":
      return "The tables give every cluster its place, and the host has reserved blocks for them all: `ls` and `du` agree, the space cannot run out, and what was never written reads as zeros.";
    case "full":
      return "Every cluster has a place that has been written, be it with zeros: `ls` and `du` agree. Whether preallocation=full or a guest wrote them does not show.";
    case "mixed":
      return `Parts of the disk differ: ${shares(places)}.`;
    default:
      return unknown;
  }
}

/** "62% without a place, 30% on holes, 8% written". */
function shares(places: ImageUsage["places"]): string {
  const total = Object.values(places).reduce((sum, bytes) => sum + bytes, 0);
  const parts: ReadonlyArray<readonly [bytes: number, words: string]> = [
    [places.none + places.zero, "without a place (off)"],
    [places.hole, "placed on holes (metadata)"],
    [places.reserved, "in reserved space (falloc)"],
    [places.written + places.compressed, "written"],
    [places.unknown, "placed where the host tells nothing"],
  ];
  return parts
    .filter(([bytes]) => bytes > 0)
    .map(([bytes, words]) => `${percent(bytes, total)} ${words}`)
    .join(", ");
}

/** A share as people write it: "0%", "<0.1%", "3.4%", "62%". */
export function percent(part: number, whole: number): string {
  if (whole === 0 || part === 0) return "0%";
  const value = (part / whole) * 100;
  if (value < 0.1) return "<0.1%";
  if (value > 99.9 && part < whole) return ">99.9%";
  return `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)}%`;
}

/** What the measured images may still want of their filesystems, a sentence for each of those. */
export function explainVolumes({ volumes }: DuResult): string[] {
  return volumes.map(({ filesystem, free, size, freeInodes, inodes, growth, overcommitted }) => {
    const files = inodes === 0 ? "" : ` and ${freeInodes.toLocaleString("en")} files`;
    const head = `${filesystem ?? "Filesystem"}: ${formatSize(free)} of ${formatSize(size)}${files} free.`;
    if (growth === 0) return `${head} These images will not grow.`;
    const demand = `${head} Written to the end, these images take ${formatSize(growth)} more`;
    if (overcommitted === 0) return `${demand}: it fits.`;
    return `${demand}: ${formatSize(overcommitted)} more than there is. The space is over-committed.`;
  });
}
