import type { CommandContext } from "../commands/index.ts";
import { create } from "../commands/index.ts";

/** A way of making a disk image. */
export interface Candidate {
  /** As tables and plots call it: "qcow2 metadata". */
  readonly label: string;
  readonly format: "raw" | "qcow2";
  readonly preallocation: "off" | "metadata" | "falloc" | "full";
  /** Its file, inside the working directory. */
  readonly file: string;
}

const ways = [
  ["raw", "off"],
  ["raw", "falloc"],
  ["raw", "full"],
  ["qcow2", "off"],
  ["qcow2", "metadata"],
  ["qcow2", "falloc"],
  ["qcow2", "full"],
] as const;

/** The seven images of the story. */
export const candidates: readonly Candidate[] = ways.map(([format, preallocation]) => ({
  label: `${format} ${preallocation}`,
  format,
  preallocation,
  file: `${format}-${preallocation}.${format === "raw" ? "img" : "qcow2"}`,
}));

/** How much of the disk each of them takes on the host at once, as shares of the disk's size. */
export const reservedDisks = candidates.filter(({ preallocation }) =>
  ["falloc", "full"].includes(preallocation),
).length;

/** Makes an empty image. */
export async function makeImage(
  { format, preallocation }: Candidate,
  name: string,
  size: number,
  context: CommandContext,
): Promise<void> {
  await create({ name, format, size, formatOptions: { preallocation } }, context);
}
