import { access } from "node:fs";
import { PlatterError } from "../errors.ts";
import type { FileStorage } from "./file.ts";
import { timedProvider } from "../storage/index.ts";
import type { StorageProvider, WritableStorage } from "../storage/index.ts";
import { createFile } from "./create.ts";
import { DirectStorage } from "./direct.ts";
import { hostError } from "./errors.ts";
import { systemLibc } from "./libc.ts";
import type { Libc } from "./libc.ts";
import { localName, resolveReference } from "./names.ts";
import type { LocalName } from "./names.ts";
import { describe, openFile } from "./open.ts";
import { promised } from "./promised.ts";

/** How a file provider works. */
export interface FileProviderOptions {
  /**
   * The C library port to use; `null` for none, which leaves out holes, locks and preallocation.
   * This system's own unless given.
   */
  readonly libc?: Libc | null;
  /**
   * What the relative name of a data file in an image is relative to: the image, as names of backing
   * images are (the default), or the working directory, as for QEMU.
   */
  readonly dataFilesFrom?: "image" | "working directory" | undefined;
  /** Milliseconds within which each request has to be answered; see {@link TimedStorage}. Default: none. */
  readonly timeout?: number | undefined;
  /** Receives sentences that the user should see but that are not errors, in QEMU's words. */
  readonly onWarning?: (message: string) => void;
}

/** Refuses a regular file that was named as a device (`host_device:`). */
async function requireDevice(local: LocalName): Promise<void> {
  if (!local.mustBeDevice) return;
  let isDevice: boolean;
  try {
    isDevice = (await describe(local.path)).isBlockDevice();
  } catch (error) {
    throw hostError(error, "open", local.name);
  }
  if (isDevice) return;
  throw new PlatterError(
    "E_INVALID_ARGUMENT",
    `${local.name}: not a block device. Leave 'host_device:' away for a file.`,
    {
      file: local.name,
      qemu: `'host_device' driver requires '${local.name}' to be either a character or block device`,
    },
  );
}

/**
 * Local files and block devices by name, as qemu-img takes names: a path, or `file:` and a path.
 * Other protocols are refused with `E_UNSUPPORTED`. See {@link openFile} and {@link createFile}.
 */
export function fileProvider(options: FileProviderOptions = {}): StorageProvider {
  const libc = (): Libc | undefined =>
    options.libc === undefined ? systemLibc().libc : (options.libc ?? undefined);
  const provider: StorageProvider = {
    async open(name, mode) {
      const local = localName(name);
      await requireDevice(local);
      const file = await openFile(local, mode, libc());
      return mode.direct === true ? new DirectStorage(file) : file;
    },
    async create(name, createOptions = {}) {
      const local = localName(name);
      await requireDevice(local);
      const surroundings = { libc: libc(), onWarning: options.onWarning };
      const made = await createFile(local, createOptions, surroundings);
      if (createOptions.direct !== true) return made;
      const direct = new DirectStorage(made.storage as FileStorage & WritableStorage);
      return { ...made, storage: direct as DirectStorage & WritableStorage };
    },
    async exists(name) {
      const local = localName(name);
      try {
        await promised((done) => access(local.path, done));
        return true;
      } catch {
        return false;
      }
    },
    resolve: (reference, image, kind) =>
      kind === "data-file" && options.dataFilesFrom === "working directory"
        ? reference
        : resolveReference(reference, image),
  };
  return options.timeout === undefined ? provider : timedProvider(provider, options.timeout);
}
