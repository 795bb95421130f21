import type { BackingReference, Disk, FileReference, SnapshotReference } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import { formatNamed } from "../formats/index.ts";
import type { LockMode, Storage } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";

/** How an image and what is behind it are opened. */
export interface ImageMode {
  readonly writable: boolean;
  /** `qemu-img -U`: others may be writing. */
  readonly shared: boolean;
  readonly barriers?: boolean | undefined;
  /** Past the host's page cache. */
  readonly direct?: boolean | undefined;
  /** The image so many below the first one is opened for writing. */
  readonly writableDepth?: number | undefined;
  /** Open the first image for repair. */
  readonly repair?: boolean | "look" | undefined;
  /** Show what this internal snapshot of the first image keeps. */
  readonly snapshot?: SnapshotReference | undefined;
  /** What others may do with the file of an image of that format. */
  readonly lock: (format: string, shared: boolean) => LockMode;
}

/**
 * Opens what an image names: a file, relative to the image, or `json:` with options. For images that
 * the user chose to trust.
 */
export async function openReference(
  reference: BackingReference & Partial<Pick<FileReference, "kind">>,
  image: Pick<Storage, "name">,
  above: readonly Storage[],
  mode: ImageMode,
  context: CommandContext,
): Promise<Storage | Disk> {
  const { provider } = context;
  refuseUntrusted(reference, image, context);
  if (reference.kind === "data-file")
    return openDataFile(reference.name, image.name, mode, context);
  // A file in a format that nobody knows is not opened.
  if (reference.format !== undefined) formatNamed(reference.format, "open");
  const below = { ...mode, writable: false, snapshot: undefined, repair: undefined };
  if (reference.name.startsWith("json:")) {
    const [{ parseNodeJson }, { openNodes }] = await Promise.all([
      import("./node-options.ts"),
      import("./open-node.ts"),
    ]);
    try {
      const options = parseNodeJson(reference.name.slice("json:".length));
      if (reference.format !== undefined) options.set("driver", reference.format);
      return (await openNodes(options, below, context, above)).disk;
    } catch (error) {
      throw asReferenceError(error, image, reference.name);
    }
  }
  return provider.open(provider.resolve(reference.name, image.name), {
    writable: above.length === mode.writableDepth,
    lock: "none",
    ...(mode.direct === true && { direct: true }),
  });
}

/** Options that are wrong in a name that an image has are no fault of the command line's. */
export function asReferenceError(
  error: unknown,
  { name: file }: Pick<Storage, "name">,
  value: string,
): unknown {
  if (!(error instanceof PlatterError) || error.code !== "E_INVALID_ARGUMENT") return error;
  const { qemu } = error.details;
  return new PlatterError(
    "E_CORRUPT",
    `${file}: the image names a backing file that cannot be opened, "${value}": ${error.message}`,
    { file, field: "backing file", value, ...(qemu !== undefined && { qemu }) },
  );
}

/**
 * Refuses what an image names where images are not trusted. Called before anything is looked for: not
 * even whether a file exists is told. Throws `E_REFERENCE_DENIED`.
 */
export function refuseUntrusted(
  { kind = "backing", name }: Pick<BackingReference, "name"> & Partial<Pick<FileReference, "kind">>,
  image: Pick<Storage, "name">,
  { untrusted = false }: CommandContext,
): void {
  if (!untrusted) return;
  const field = kind === "backing" ? "backing file" : "data file";
  throw new PlatterError(
    "E_REFERENCE_DENIED",
    `${image.name}: the image names the ${field} "${name}", which is not opened in untrusted mode`,
    { file: image.name, field, value: name },
  );
}

/** As what is opened that an image names: only its data is ever written. */
export const modeOf = ({ writable }: FileReference, mode: ImageMode): ImageMode => ({
  ...mode,
  writable,
});

/** Opens the file with the data of `image`: as the bytes that it has, whatever it looks like. */
function openDataFile(
  name: string,
  image: string,
  { writable, direct }: ImageMode,
  { provider }: CommandContext,
): Promise<Storage> {
  return provider.open(provider.resolve(name, image, "data-file"), {
    writable,
    lock: "none",
    ...(direct === true && { direct: true }),
  });
}

/** The error for an image that others may be writing and that is to be written. */
export function sharedWriter(): PlatterError {
  return new PlatterError(
    "E_INVALID_ARGUMENT",
    "An image that is to be written cannot be shared with other writers (force-share, -U).",
    { field: "force-share", qemu: "force-share=on can only be used with read-only images" },
  );
}

/** The error for `aio=native` with the page cache. */
export function nativeNeedsDirect(): PlatterError {
  return new PlatterError(
    "E_INVALID_ARGUMENT",
    "Native asynchronous I/O works only past the page cache (cache.direct=on, -t none).",
    {
      field: "aio",
      value: "native",
      qemu: "aio=native was specified, but it requires cache.direct=on, which was not specified.",
    },
  );
}
