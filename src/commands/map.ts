import type { Extent } from "../disk/index.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";

/** Which part of which image to map. */
export interface MapOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** Guest offset in bytes to start at. */
  readonly start?: number | undefined;
  /** Most bytes to map. */
  readonly maxLength?: number | undefined;
  /** Others may be writing to it (`-U`). */
  readonly shared?: boolean | undefined;
}

/** A run of guest bytes. */
export interface MapEntry extends Omit<Extent, "storage"> {
  /** The file of the layer that decides. */
  readonly filename: string;
}

/** Lists where the guest's bytes are, through the backing chain, as `qemu-img map` merges them. */
export async function* map(options: MapOptions, context: CommandContext): AsyncGenerator<MapEntry> {
  const { start = 0, maxLength = Infinity } = options;
  await using disk = await openImage(options, context);
  const end = Math.min(disk.size, start + maxLength);
  for await (const { storage, ...entry } of disk.extents({ start, end, signal: context.signal })) {
    yield { ...entry, filename: storage.name };
  }
}
