import type { Disk } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { CommandContext } from "./context.ts";
import type { ConvertOptions } from "./convert.ts";

/** The options of a conversion that are about bitmaps. */
type BitmapOptions = Pick<ConvertOptions, "bitmaps" | "skipBrokenBitmaps" | "target">;

/** Finds out before anything is written whether the bitmaps of the source can be copied. */
export async function checkBitmaps(
  [disk, ...others]: readonly Disk[],
  { bitmaps: wanted = false, skipBrokenBitmaps = false }: BitmapOptions,
): Promise<void> {
  if (!wanted || disk === undefined) return;
  const file = disk.name;
  if (others.length > 0) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${file}: bitmaps can only be copied from a single source`,
      { file, field: "bitmaps", qemu: "Copying bitmaps only possible with single source" },
    );
  }
  const bitmaps = await disk.image.bitmaps?.();
  if (bitmaps === undefined) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${file}: a ${disk.image.format} image has no bitmaps that could be copied`,
      { file, field: "bitmaps", qemu: "Source lacks bitmap support" },
    );
  }
  // QEMU goes from the last to the first.
  const broken = bitmaps.list().findLast(({ inconsistent }) => inconsistent);
  if (broken === undefined || skipBrokenBitmaps) return;
  throw new PlatterError(
    "E_BITMAP_INCONSISTENT",
    `${file}: the bitmap "${broken.name}" is inconsistent and cannot be copied; remove it, or leave ` +
      `broken ones out`,
    {
      file,
      value: broken.name,
      qemu:
        `Cannot copy inconsistent bitmap '${broken.name}'\n` +
        `Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it`,
    },
  );
}

/** Throws `E_UNSUPPORTED` if bitmaps are wanted and the target cannot have any. */
export function refuseBitmaps({ image, name }: Disk, { bitmaps = false }: BitmapOptions): void {
  const isOld = image.details?.["compat"] === "0.10";
  if (!bitmaps || (image.bitmaps !== undefined && !isOld)) return;
  throw new PlatterError(
    "E_UNSUPPORTED",
    `${name}: a ${image.format} image${isOld ? " of version 2" : ""} cannot have bitmaps`,
    {
      file: name,
      field: "bitmaps",
      qemu: `Format driver '${image.format}' does not support bitmaps`,
    },
  );
}

/** Copies the bitmaps of the source to the target, which stores them when it is closed or finished. */
export async function copyBitmaps(
  [source]: readonly Disk[],
  target: Disk,
  { bitmaps: wanted = false }: BitmapOptions,
  { onWarning }: CommandContext,
): Promise<void> {
  if (!wanted || source === undefined) return;
  const from = await source.image.bitmaps!();
  const to = await target.image.bitmaps!();
  for (const { name, granularity, enabled, inconsistent } of from.list().toReversed()) {
    if (inconsistent) {
      onWarning?.(`Skipping inconsistent bitmap '${name}'`);
      continue;
    }
    try {
      to.add(name, { granularity });
      to.enable(name, enabled);
    } catch (error) {
      throw prefixed(error, `Failed to create bitmap ${name}: `);
    }
    try {
      await to.merge(name, name, from);
    } catch (error) {
      await to.remove(name);
      throw prefixed(error, `Failed to populate bitmap ${name}: `);
    }
  }
}

function prefixed(error: unknown, prefix: string): unknown {
  if (!(error instanceof PlatterError)) return error;
  const qemu = prefix + (error.details.qemu ?? error.message);
  return new PlatterError(error.code, error.message, { ...error.details, qemu });
}
