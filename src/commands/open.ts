import { openDisk, type DiskOptions } from "../formats/index.ts";
import type { Disk } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { LockMode } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";

/** How a command opens an image that its user named. */
export interface OpenImageOptions {
  readonly name: string;
  readonly format?: string | undefined;
  readonly writable?: boolean;
  /** `qemu-img -U`: others may be writing. */
  readonly shared?: boolean | undefined;
  readonly barriers?: boolean;
  /** Raw images are locked in this way; default as all others. */
  readonly rawLock?: LockMode;
  /** Open the image alone: what is behind it does not matter. */
  readonly alone?: boolean;
}

/**
 * Opens an image that the user named, with all images behind it: a user who names an image on the
 * command line means what `qemu-img` would open.
 */
export async function openImage(
  {
    name,
    format,
    writable = false,
    shared = false,
    barriers,
    rawLock,
    alone = false,
  }: OpenImageOptions,
  { provider, codecs, signal, onWarning }: CommandContext,
): Promise<Disk> {
  // As QEMU does, first look what it is, then lock it.
  const mode = { writable: false, lock: "none" } as const;
  const exclusive = shared ? "shared" : "exclusive";
  const options: DiskOptions = {
    writable,
    format,
    codecs,
    signal,
    ...(barriers !== undefined && { barriers }),
    references: alone
      ? "ignore"
      : (reference, image) => provider.open(provider.resolve(reference.name, image.name), mode),
    onWarning,
    lock: (found) => (found === "raw" ? (rawLock ?? exclusive) : exclusive),
  };
  try {
    const storage = await provider.open(name, { ...mode, writable });
    return await openDisk(storage, options);
  } catch (error) {
    throw asOpenError(error, name);
  }
}

/** QEMU says which of the user's images it was that could not be opened, then why. */
export function asOpenError(error: unknown, name: string): unknown {
  if (!(error instanceof PlatterError) || error.code === "E_ABORTED") return error;
  const qemu = `Could not open '${name}': ${error.details.qemu ?? error.message}`;
  return new PlatterError(error.code, error.message, { ...error.details, qemu });
}
