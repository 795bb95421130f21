import type { BackingReference, Image } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import { Qcow2Image, formatNamed, probe } from "../formats/index.ts";
import type { Storage } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";
import { asOpenError } from "./open.ts";

/** Which image to look at. */
export interface InfoOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** Follow the backing chain and report each image. */
  readonly backingChain?: boolean | undefined;
  /** Others may be writing to it (`-U`). */
  readonly shared?: boolean | undefined;
}

/** What is known of an image without reading its contents. */
export interface ImageInfo {
  readonly filename: string;
  readonly format: string;
  /** Size of the guest's disk in bytes. */
  readonly virtualSize: number;
  /** Bytes the host has allocated; undefined when it cannot tell. */
  readonly allocatedSize: number | undefined;
  /** Undefined for formats without clusters. */
  readonly clusterSize: number | undefined;
  /** The image was not closed cleanly. */
  readonly dirty: boolean;
  /** The backing file's name as it stands in the image. */
  readonly backingFilename: string | undefined;
  /** The backing file's name as it is opened. */
  readonly fullBackingFilename: string | undefined;
  readonly backingFormat: string | undefined;
  /** Facts that only this format has, under QEMU's names and in its order. */
  readonly formatSpecific: Readonly<Record<string, unknown>> | undefined;
}

/** Describes an image, or with `backingChain` all images of its chain from the top down. */
export async function info(options: InfoOptions, context: CommandContext): Promise<ImageInfo[]> {
  const { backingChain = false } = options;
  const found: ImageInfo[] = [];
  const seen = new Set<string>();
  let next: BackingReference | undefined = { name: options.name, format: options.format };
  while (next !== undefined) {
    const { description, identity } = await describe(next, options, context);
    if (identity !== undefined && seen.has(identity)) throw loop(next.name);
    if (identity !== undefined) seen.add(identity);
    found.push(description);
    const { fullBackingFilename: name, backingFormat: format } = description;
    next = backingChain && name !== undefined ? { name, format } : undefined;
  }
  return found;
}

async function describe(
  { name, format: given }: BackingReference,
  { shared = false }: InfoOptions,
  { provider, onWarning }: CommandContext,
): Promise<{ description: ImageInfo; identity: string | undefined }> {
  let storage: Storage | undefined;
  try {
    storage = await provider.open(name, { writable: false, lock: "none" });
    const format = given === undefined ? await probe(storage) : formatNamed(given, "open");
    // Nothing that others do to a raw image changes what is said of it here.
    if (format.name !== "raw") storage.lock?.(shared ? "shared" : "exclusive");
    const image = await format.open(storage, { writable: false, inspect: true, onWarning });
    const resolved = image.backing && provider.resolve(image.backing.name, name);
    return {
      identity: storage.identity,
      description: {
        filename: name,
        format: image.format,
        virtualSize: image.size,
        allocatedSize: await storage.allocatedBytes?.(),
        clusterSize: image.clusterSize > 1 ? image.clusterSize : undefined,
        dirty: isDirty(image),
        backingFilename: image.backing?.name,
        fullBackingFilename: resolved,
        backingFormat: image.backing?.format,
        formatSpecific: image.details,
      },
    };
  } catch (error) {
    throw asOpenError(error, name);
  } finally {
    await storage?.close();
  }
}

const isDirty = (image: Image): boolean => image instanceof Qcow2Image && image.isDirty;

function loop(name: string): PlatterError {
  return new PlatterError("E_CHAIN_LOOP", `${name}: the backing chain leads back to this image`, {
    file: name,
    qemu: `Backing file '${name}' creates an infinite loop.`,
  });
}
