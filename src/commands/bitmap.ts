import type { BitmapInfo } from "../disk/index.ts";
import type { CommandContext } from "./context.ts";

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
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** The bitmap's name. */
  readonly bitmap: string;
  /** Done in this order. The first that fails is the last; those before it hold. */
  readonly actions: readonly BitmapAction[];
  /** Bytes that a bit of an added bitmap stands for; a power of two of at least 512. */
  readonly granularity?: number | undefined;
  /** Image that has the bitmaps to merge; the image itself when absent. */
  readonly source?: { readonly name: string; readonly format?: string | undefined } | undefined;
}

/** Which image's bitmaps to list. */
export interface ListBitmapsOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** Others may be writing to it. */
  readonly shared?: boolean | undefined;
}

/** A bitmap, and how much it says has changed. */
export interface BitmapListing extends BitmapInfo {
  /** Guest bytes; undefined where nobody knows. */
  readonly dirtyBytes: number | undefined;
}

/** Changes a persistent bitmap of an image. */
export async function bitmap(options: BitmapOptions, context: CommandContext): Promise<void> {
  const { changeBitmap } = await import("./bitmap-actions.ts");
  return changeBitmap(options, context);
}

/** Lists the persistent bitmaps of an image, none where the format has no such thing. */
export async function listBitmaps(
  options: ListBitmapsOptions,
  context: CommandContext,
): Promise<BitmapListing[]> {
  const { readBitmaps } = await import("./bitmap-actions.ts");
  return readBitmaps(options, context);
}
