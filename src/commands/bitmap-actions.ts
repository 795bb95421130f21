import type { Bitmaps, Disk } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { BitmapAction, BitmapListing, BitmapOptions, ListBitmapsOptions } from "./bitmap.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";

/** Changes a persistent bitmap of an image. */
export async function changeBitmap(options: BitmapOptions, context: CommandContext): Promise<void> {
  const { name, format, imageOpts, source } = options;
  const disk = await openImage({ name, format, imageOpts, writable: true, alone: true }, context);
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

/** Lists the persistent bitmaps of an image, none where the format has no such thing. */
export async function readBitmaps(
  { name, format, imageOpts, shared }: ListBitmapsOptions,
  context: CommandContext,
): Promise<BitmapListing[]> {
  await using disk = await openImage({ name, format, imageOpts, shared, alone: true }, context);
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
