import { formatSize } from "../bytes/index.ts";
import type { Disk, Preallocation } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";

/** How large a disk shall become. */
export interface ResizeCommandOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** Bytes: the new size, or by how much it changes. */
  readonly size: number;
  /** `size` is added to the size that the disk has, or taken from it. */
  readonly relative?: "grow" | "shrink" | undefined;
  /** The disk may become smaller, which deletes what is behind its new end. */
  readonly shrink?: boolean | undefined;
  /** For the new part of a disk that grows. */
  readonly preallocation?: Preallocation | undefined;
}

/** What came of it. Sizes are bytes. */
export interface ResizeResult {
  readonly filename: string;
  readonly format: string;
  readonly oldSize: number;
  readonly newSize: number;
}

/** See the function of the same name in lazy.ts. */
export async function resize(
  options: ResizeCommandOptions,
  context: CommandContext,
): Promise<ResizeResult> {
  const { name, format, imageOpts, preallocation = "off" } = options;
  const disk = await openImage(
    { name, format, imageOpts, writable: true, rawLock: "shared-resize" },
    context,
  );
  const oldSize = disk.size;
  try {
    const newSize = newSizeOf(disk, options);
    refuseUnmeant(disk, newSize, options);
    await disk.resize(newSize, { preallocation });
    await disk.flush();
  } catch (error) {
    // The first error is the one to tell.
    await disk.close().catch(() => undefined);
    throw error;
  }
  const newSize = disk.size;
  await disk.close();
  return { filename: disk.name, format: disk.image.format, oldSize, newSize };
}

function newSizeOf(disk: Disk, { size, relative }: ResizeCommandOptions): number {
  const sign = relative === "shrink" ? -1 : 1;
  const newSize = relative === undefined ? size : disk.size + sign * size;
  if (newSize > 0) return newSize;
  throw new PlatterError(
    "E_INVALID_SIZE",
    `${disk.name}: the disk has ${formatSize(disk.size)}; nothing of it would be left`,
    { file: disk.name, field: "size", value: newSize, qemu: "New image size must be positive" },
  );
}

/** Deleting data, or a wish that cannot be met, is not started. */
function refuseUnmeant(
  disk: Disk,
  newSize: number,
  { shrink = false, preallocation = "off" }: ResizeCommandOptions,
): void {
  if (newSize <= disk.size && preallocation !== "off") {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${disk.name}: preallocation=${preallocation} is for disks that grow`,
      {
        file: disk.name,
        field: "preallocation",
        value: preallocation,
        qemu: "Preallocation can only be used for growing images",
      },
    );
  }
  if (newSize >= disk.size || shrink) return;
  throw new PlatterError(
    "E_INVALID_SIZE",
    `${disk.name}: going from ${formatSize(disk.size)} to ${formatSize(newSize)} deletes what is ` +
      `behind the new end for good: have the guest's filesystem made smaller before, then allow it ` +
      `with --shrink`,
    {
      file: disk.name,
      field: "size",
      value: newSize,
      qemu:
        "Use the --shrink option to perform a shrink operation.\n" +
        "qemu-img: warning: Shrinking an image will delete all data beyond the shrunken image's end. " +
        "Before performing such an operation, make sure there is no important data there.",
    },
  );
}
