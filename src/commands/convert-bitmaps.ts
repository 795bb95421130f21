import type { Bitmaps, Disk } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { CommandContext } from "./context.ts";
import type { ConvertOptions } from "./convert.ts";

/** The bitmaps of the source, on their way to the target. */
export interface BitmapCopy {
  /** Throws `E_UNSUPPORTED` if the target cannot have any. */
  refuse(target: Disk): void;
  /** Adds them to the target, which stores them when it is closed or finished. */
  copy(target: Disk): Promise<void>;
}

/** Finds out before anything is written whether the bitmaps of the source can be copied. */
export async function prepareBitmapCopy(
  [disk, ...others]: readonly Disk[],
  { skipBrokenBitmaps = false }: ConvertOptions,
  { onWarning }: CommandContext,
): Promise<BitmapCopy> {
  if (disk === undefined) throw new Error("a conversion without a source");
  const file = disk.name;
  if (others.length > 0) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${file}: bitmaps can only be copied from a single source`,
      { file, field: "bitmaps", qemu: "Copying bitmaps only possible with single source" },
    );
  }
  const bitmaps = isOld(disk) ? undefined : await disk.image.bitmaps?.();
  if (bitmaps === undefined) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${file}: a ${disk.image.format} image has no bitmaps that could be copied`,
      { file, field: "bitmaps", qemu: "Source lacks bitmap support" },
    );
  }
  // QEMU goes from the last to the first.
  const broken = bitmaps.list().findLast(({ inconsistent }) => inconsistent);
  if (broken === undefined || skipBrokenBitmaps) {
    return { refuse, copy: (target) => copyBitmaps(bitmaps, target, onWarning) };
  }
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

/** A qcow2 image of version 2 has no way to say whether its bitmaps can be relied on. */
const isOld = ({ image }: Disk): boolean => image.details?.["compat"] === "0.10";

function refuse(disk: Disk): void {
  const { image, name } = disk;
  if (image.bitmaps !== undefined && !isOld(disk)) return;
  throw new PlatterError(
    "E_UNSUPPORTED",
    `${name}: a ${image.format} image${isOld(disk) ? " of version 2" : ""} cannot have bitmaps`,
    {
      file: name,
      field: "bitmaps",
      qemu: `Format driver '${image.format}' does not support bitmaps`,
    },
  );
}

async function copyBitmaps(
  from: Bitmaps,
  target: Disk,
  onWarning: CommandContext["onWarning"],
): Promise<void> {
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
