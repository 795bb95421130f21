/** The disks that are compared in a guest. */
import { rm, writeFile, open } from "node:fs/promises";
import { join } from "node:path";
import { create, type CommandContext } from "../commands/index.ts";
import type { FormatOptionValues } from "../formats/index.ts";
import { randomFrom } from "./statistics.ts";

/** A way of making the guest's disk. */
export interface GuestCandidate {
  /** As tables and plots call it. */
  readonly label: string;
  readonly format: "raw" | "qcow2";
  /** As `-o` has them. */
  readonly options: FormatOptionValues;
  /** Over a disk full of data. */
  readonly isOverlay: boolean;
  /** Its file, inside the working directory. */
  readonly file: string;
  /** It takes the whole disk's space at once. */
  readonly isReserved: boolean;
}

const plain = (format: "raw" | "qcow2", preallocation: string): GuestCandidate => ({
  label: `${format} ${preallocation}`,
  format,
  options: { preallocation },
  isOverlay: false,
  file: `${format}-${preallocation}.${format === "raw" ? "img" : "qcow2"}`,
  isReserved: preallocation === "falloc" || preallocation === "full",
});

const special = (
  label: string,
  options: FormatOptionValues,
  isOverlay: boolean,
): GuestCandidate => ({
  label,
  format: "qcow2",
  options,
  isOverlay,
  file: `${label.replaceAll(" ", "-")}.qcow2`,
  isReserved: false,
});

const subclusters = { extended_l2: true, cluster_size: 131_072 };

/** What a disk that stands alone with 64 KiB clusters and nothing preallocated is called. */
export const PLAIN = "qcow2 off";
/** And one over another disk. */
export const PLAIN_OVERLAY = "overlay";

/** All that are compared. */
export const guestCandidates: readonly GuestCandidate[] = [
  plain("raw", "off"),
  plain("raw", "falloc"),
  plain("raw", "full"),
  plain("qcow2", "off"),
  plain("qcow2", "metadata"),
  plain("qcow2", "falloc"),
  plain("qcow2", "full"),
  special("qcow2 2M clusters", { cluster_size: 2 ** 21 }, false),
  special("qcow2 extended L2", subclusters, false),
  special(PLAIN_OVERLAY, {}, true),
  special("overlay extended L2", subclusters, true),
];

/** Those that are compared where there is little time. */
export const quickCandidates: readonly GuestCandidate[] = guestCandidates.filter(({ label }) =>
  ["raw off", PLAIN, "qcow2 metadata", "qcow2 falloc", "qcow2 full"].includes(label),
);

const BACKING = "backing.img";

/** Makes the disk that overlays are over: raw, every byte written. */
export async function makeBacking(directory: string, size: number): Promise<void> {
  const piece = new Uint8Array(2 ** 20);
  const next = randomFrom(256);
  for (let at = 0; at < piece.length; at++) piece[at] = next();
  const file = await open(join(directory, BACKING), "w");
  try {
    for (let at = 0; at < size; at += piece.length) await file.write(piece, 0, piece.length, at);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes an empty disk anew and returns its path. It is on stable storage. */
export async function makeCandidate(
  { file, format, options, isOverlay }: GuestCandidate,
  directory: string,
  size: number,
  context: CommandContext,
): Promise<string> {
  const name = join(directory, file);
  await rm(name, { force: true });
  const backing = isOverlay ? { name: BACKING, format: "raw" } : undefined;
  await create({ name, format, size, formatOptions: options, backing }, context);
  const made = await open(name, "r+");
  try {
    await made.sync();
  } finally {
    await made.close();
  }
  return name;
}

/** Writes what the guest is told to do, as the disk that it reads it from. */
export async function writeJob(path: string, script: string): Promise<void> {
  const text = new TextEncoder().encode(script);
  const disk = new Uint8Array(Math.ceil(text.length / 65_536) * 65_536).fill(0x0a);
  disk.set(text);
  await writeFile(path, disk);
}
