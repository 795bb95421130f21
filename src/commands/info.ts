import type { Image, SnapshotInfo } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import { Qcow2Image, formatNamed, probe } from "../formats/index.ts";
import type { LockMode, Storage } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";
import { asOpenError, namedNodes } from "./open.ts";
import { asReferenceError, refuseUntrusted } from "./open-reference.ts";

/** Which image to look at. */
export interface InfoOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
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
  /** Guest data is encrypted. */
  readonly encrypted: boolean;
  /** Its internal snapshots. */
  readonly snapshots: readonly SnapshotInfo[];
}

/** Describes an image, or with `backingChain` all images of its chain from the top down. */
export async function info(options: InfoOptions, context: CommandContext): Promise<ImageInfo[]> {
  const { backingChain = false } = options;
  const found: ImageInfo[] = [];
  const seen = new Set<string>();
  let next: Named | undefined = options;
  while (next !== undefined) {
    const { description, identity }: Described = await describe(next, options, context).catch(
      thrower(found.at(-1), next.name),
    );
    if (identity !== undefined && seen.has(identity)) throw loop(next.name);
    if (identity !== undefined) seen.add(identity);
    found.push(description);
    const {
      backingFilename,
      fullBackingFilename: name,
      backingFormat: format,
    }: ImageInfo = description;
    if (backingChain && backingFilename !== undefined) {
      refuseUntrusted({ name: backingFilename }, { name: next.name }, context);
    }
    next = backingChain && name !== undefined ? { name, format } : undefined;
  }
  return found;
}

/** Throws what went wrong with an image that the one above names, in words that say so. */
const thrower = (above: ImageInfo | undefined, name: string) => (error: unknown) => {
  throw above === undefined ? error : asReferenceError(error, { name: above.filename }, name);
};

/** An image as the user, or the image above it, names it. */
type Named = Pick<InfoOptions, "name" | "format" | "imageOpts">;

interface Described {
  readonly description: ImageInfo;
  readonly identity: string | undefined;
}

/** Nothing that others do to a raw image changes what is said of it here. */
const lockFor = (format: string, shared: boolean): LockMode => {
  if (format === "raw") return "none";
  return shared ? "shared" : "exclusive";
};

async function describe(
  named: Named,
  { shared = false }: InfoOptions,
  context: CommandContext,
): Promise<Described> {
  const { name, format: given } = named;
  const { provider } = context;
  let storage: Storage | undefined;
  try {
    const nodes = await namedNodes(named, context);
    if (nodes !== undefined) {
      const mode = { writable: false, shared, inspect: true, lock: lockFor };
      const { disk, filename } = await nodes.openNodes(nodes.options, mode, context);
      await using closing = disk;
      return await describeImage(closing.image, filename, context);
    }
    const stated = given === undefined ? undefined : formatNamed(given, "open");
    storage = await provider.open(name, { writable: false, lock: "none" });
    const format = stated ?? (await probe(storage));
    const lock = lockFor(format.name, shared);
    if (lock !== "none") storage.lock?.(lock);
    const { onWarning } = context;
    const image = await format.open(storage, { writable: false, inspect: true, onWarning });
    return await describeImage(image, name.startsWith("file:") ? storage.name : name, context);
  } catch (error) {
    throw asOpenError(error, name);
  } finally {
    await storage?.close();
  }
}

/** What is to be said of an opened image that QEMU calls `filename`. */
async function describeImage(
  image: Image,
  filename: string,
  { provider }: CommandContext,
): Promise<Described> {
  const { storage, backing } = image;
  // What QEMU calls a plain file carries the file's own name in front of relative ones.
  const base = filename.startsWith("json:") ? storage.name : filename;
  return {
    identity: storage.identity,
    description: {
      filename,
      format: image.format,
      virtualSize: image.size,
      allocatedSize: await storage.allocatedBytes?.(),
      clusterSize: image.clusterSize > 1 ? image.clusterSize : undefined,
      dirty: isDirty(image),
      backingFilename: backing?.name,
      fullBackingFilename: backing && provider.resolve(backing.name, base),
      backingFormat: backing?.format,
      formatSpecific: image.details,
      encrypted: image.isEncrypted ?? false,
      snapshots: image.snapshotList ?? [],
    },
  };
}

const isDirty = (image: Image): boolean => image instanceof Qcow2Image && image.isDirty;

function loop(name: string): PlatterError {
  return new PlatterError("E_CHAIN_LOOP", `${name}: the backing chain leads back to this image`, {
    file: name,
    qemu: `Backing file '${name}' creates an infinite loop.`,
  });
}
