import { join } from "node:path";
import { create, type CommandContext } from "../commands/index.ts";
import { openDisk, type FormatOptionValues } from "../formats/index.ts";
import type { GuestImage } from "./guest-run.ts";

/** A way of making the disk that a guest writes to. */
export interface GuestCandidate {
  /** As tables and plots call it: "qcow2 metadata". */
  readonly label: string;
  readonly format: "raw" | "qcow2";
  /** Creation options. */
  readonly options: FormatOptionValues;
  /** It lies over an image that has data everywhere. */
  readonly overlay?: boolean;
  /** What it is compared with, if not itself what others are compared with. */
  readonly baseline?: string;
  /** It takes the space of the whole disk at once. */
  readonly reserves?: boolean;
  /** Measured also when there is little time. */
  readonly quick?: boolean;
}

/** All ways. */
export const guestCandidates: readonly GuestCandidate[] = [
  { label: "raw off", format: "raw", options: {}, quick: true },
  {
    label: "raw falloc",
    format: "raw",
    options: { preallocation: "falloc" },
    baseline: "raw off",
    reserves: true,
  },
  {
    label: "raw full",
    format: "raw",
    options: { preallocation: "full" },
    baseline: "raw off",
    reserves: true,
    quick: true,
  },
  { label: "qcow2 off", format: "qcow2", options: {}, baseline: "raw off", quick: true },
  {
    label: "qcow2 metadata",
    format: "qcow2",
    options: { preallocation: "metadata" },
    baseline: "qcow2 off",
    quick: true,
  },
  {
    label: "qcow2 falloc",
    format: "qcow2",
    options: { preallocation: "falloc" },
    baseline: "qcow2 off",
    reserves: true,
    quick: true,
  },
  {
    label: "qcow2 full",
    format: "qcow2",
    options: { preallocation: "full" },
    baseline: "qcow2 off",
    reserves: true,
  },
  {
    label: "qcow2 2 MiB clusters",
    format: "qcow2",
    options: { cluster_size: 2 ** 21 },
    baseline: "qcow2 off",
  },
  {
    label: "qcow2 subclusters",
    format: "qcow2",
    options: { extended_l2: true, cluster_size: 2 ** 17 },
    baseline: "qcow2 off",
  },
  { label: "overlay", format: "qcow2", options: {}, overlay: true, baseline: "qcow2 off" },
  {
    label: "overlay subclusters",
    format: "qcow2",
    options: { extended_l2: true, cluster_size: 2 ** 17 },
    overlay: true,
    baseline: "overlay",
  },
];

/** The image below overlays, with data everywhere. */
const baseName = "base.raw";

/** Makes the image that overlays lie over: its guest has written all of it. */
export async function makeBase(
  directory: string,
  size: number,
  context: CommandContext,
): Promise<void> {
  const { provider, codecs } = context;
  const name = join(directory, baseName);
  await create({ name, format: "raw", size }, context);
  const disk = await openDisk(await provider.open(name, { writable: true }), {
    writable: true,
    format: "raw",
    codecs,
  });
  try {
    const block = new Uint8Array(2 ** 20).fill(0x5a);
    for (let at = 0; at < size; at += block.length) {
      context.signal?.throwIfAborted();
      await disk.write(at, block);
    }
    await disk.flush();
  } finally {
    await disk.close();
  }
}

/** Makes the image of a candidate and says where it is. */
export async function makeGuestImage(
  { label, format, options, overlay }: GuestCandidate,
  directory: string,
  size: number,
  context: CommandContext,
): Promise<GuestImage> {
  const path = join(directory, `${label.replaceAll(" ", "-")}.${format}`);
  const backing = overlay === true ? { name: join(directory, baseName), format: "raw" } : undefined;
  await create({ name: path, format, size, backing, formatOptions: options }, context);
  return { label, path, format };
}
