import type { BitmapInfo, Bitmaps, Disk } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";

/** One change of a bitmap. */
export type BitmapAction =
  | { readonly kind: "add" | "remove" | "clear" | "enable" | "disable" }
  | {
      readonly kind: "merge";
      /** The bitmap whose bits are added. */
      readonly source: string;
    };

/** What to do with which bitmap. */
export interface BitmapOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The bitmap's name. */
  readonly bitmap: string;
  /** Done in this order. The first that fails is the last; those before it hold. */
  readonly actions: readonly BitmapAction[];
  /** Bytes that a bit of an added bitmap stands for; a power of two of at least 512. */
  readonly granularity?: number | undefined;
  /** Image that has the bitmaps to merge; the image itself when absent. */
  readonly source?: { readonly name: string; readonly format?: string | undefined } | undefined;
}

/** Changes a persistent bitmap of an image. */
export async function bitmap(options: BitmapOptions, context: CommandContext): Promise<void> {
  const { name, format, source } = options;
  const disk = await openImage({ name, format, writable: true, alone: true }, context);
  let other: Disk | undefined;
  try {
    if (source !== undefined) other = await openImage({ ...source, alone: true }, context);
    for (const action of options.actions) await perform(action, options, disk, other ?? disk);
  } catch (error) {
    // What was done before it is kept; the first error is the one to tell.
    await disk.close().catch(() => undefined);
    throw error;
  } finally {
    await other?.close();
  }
  await disk.close();
}

async function perform(
  action: BitmapAction,
  options: BitmapOptions,
  disk: Disk,
  from: Disk,
): Promise<void> {
  try {
    await change(action, options, disk, from);
  } catch (error) {
    throw asOperationError(error, `Operation ${action.kind} on bitmap ${options.bitmap} failed: `);
  }
}

async function change(
  action: BitmapAction,
  { bitmap: target, granularity }: BitmapOptions,
  disk: Disk,
  from: Disk,
): Promise<void> {
  if (action.kind === "add" && disk.image.bitmaps === undefined) {
    throw noBitmaps(disk, "Can't store persistent bitmaps to #block100: Operation not supported");
  }
  const bitmaps = await bitmapsOf(disk, target);
  switch (action.kind) {
    case "add":
      bitmaps.add(target, granularity === undefined ? {} : { granularity });
      return;
    case "remove":
      return bitmaps.remove(target);
    case "clear":
      bitmaps.clear(target);
      return;
    case "enable":
    case "disable":
      bitmaps.enable(target, action.kind === "enable");
      return;
    default:
      return bitmaps.merge(target, action.source, await bitmapsOf(from, action.source));
  }
}

/** The bitmaps of an image; where its format has none, QEMU misses the one that was named. */
async function bitmapsOf(disk: Disk, name: string): Promise<Bitmaps> {
  const bitmaps = await disk.image.bitmaps?.();
  if (bitmaps === undefined) throw noBitmaps(disk, `Dirty bitmap '${name}' not found`);
  return bitmaps;
}

const noBitmaps = ({ name, image }: Disk, qemu: string): PlatterError =>
  new PlatterError("E_UNSUPPORTED", `${name}: a ${image.format} image cannot have bitmaps`, {
    file: name,
    field: "format",
    value: image.format,
    qemu,
  });

/** Puts QEMU's words for what was done in front of those for why it failed. */
function asOperationError(error: unknown, prefix: string): unknown {
  if (!(error instanceof PlatterError) || error.code === "E_ABORTED") return error;
  const qemu = prefix + (error.details.qemu ?? error.message);
  return new PlatterError(error.code, error.message, { ...error.details, qemu });
}

/** Which image's bitmaps to list. */
export interface ListBitmapsOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** Others may be writing to it. */
  readonly shared?: boolean | undefined;
}

/** A bitmap, and how much it says has changed. */
export interface BitmapListing extends BitmapInfo {
  /** Guest bytes; undefined where nobody knows. */
  readonly dirtyBytes: number | undefined;
}

/** Lists the persistent bitmaps of an image, none where the format has no such thing. */
export async function listBitmaps(
  { name, format, shared }: ListBitmapsOptions,
  context: CommandContext,
): Promise<BitmapListing[]> {
  await using disk = await openImage({ name, format, shared, alone: true }, context);
  const bitmaps = await disk.image.bitmaps?.();
  if (bitmaps === undefined) return [];
  const listings: BitmapListing[] = [];
  for (const info of bitmaps.list()) {
    let dirtyBytes: number | undefined;
    if (!info.inconsistent) {
      dirtyBytes = 0;
      for await (const { start, end } of bitmaps.dirty(info.name)) dirtyBytes += end - start;
    }
    listings.push({ ...info, dirtyBytes });
  }
  return listings;
}
