import { openDisk, type DiskOptions } from "../formats/index.ts";
import { Disk, type BackingReference, type SnapshotReference } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { LockMode, Storage } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";
import type { NodeOptions } from "./node-options.ts";
import type { openNodes } from "./open-node.ts";
import { modeOf, openReference, sharedWriter, type ImageMode } from "./open-reference.ts";

/** How a command opens an image that its user named. */
export interface OpenImageOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  readonly writable?: boolean;
  /** `qemu-img -U`: others may be writing. */
  readonly shared?: boolean | undefined;
  readonly barriers?: boolean;
  /** Past the host's page cache. */
  readonly direct?: boolean | undefined;
  /** How raw images are locked. Default "shared": others may write to a raw disk, too, as QEMU has it. */
  readonly rawLock?: LockMode;
  /** Open the image alone: what is behind it does not matter. */
  readonly alone?: boolean;
  /** The image so many below this one is opened for writing, too. */
  readonly writableDepth?: number | undefined;
  /** Open for repair: marks of damage do not prevent it. */
  readonly repair?: boolean | "look" | undefined;
  /** Puts another storage in front of the image's, where its name is a plain one. */
  readonly wrap?: ((storage: Storage) => Storage) | undefined;
  /** Show what this internal snapshot keeps instead of the present state. */
  readonly snapshot?: SnapshotReference | undefined;
}

/**
 * Opens an image that the user named, with all images behind it: a user who names an image on the
 * command line means what `qemu-img` would open.
 */
export async function openImage(options: OpenImageOptions, context: CommandContext): Promise<Disk> {
  const { name, format, writable = false, shared = false, alone = false } = options;
  const { barriers, direct, rawLock = "shared", writableDepth, snapshot, repair, wrap } = options;
  const { provider, codecs, signal, onWarning, onRepair } = context;
  const lock = (found: string, isShared: boolean): LockMode =>
    found === "raw" ? rawLock : isShared ? "shared" : "exclusive";
  const mode: ImageMode = {
    writable,
    shared,
    barriers,
    direct,
    lock,
    writableDepth,
    snapshot,
    repair,
  };
  try {
    const nodes = await namedNodes(options, context);
    if (nodes !== undefined) {
      return (await nodes.openNodes(nodes.options, mode, context)).disk;
    }
    if (writable && shared) throw sharedWriter();
    const diskOptions: DiskOptions = {
      writable,
      format,
      codecs,
      secrets: context.secrets,
      signal,
      ...(barriers !== undefined && { barriers }),
      alone,
      references: (reference, image, above) =>
        openReference(reference, image, above, modeOf(reference, mode), context),
      onWarning,
      onRepair,
      onCorruption: context.onCorruption,
      ...(repair !== undefined && { repair }),
      writableDepth,
      snapshot,
      lock: (found) => lock(found, shared),
    };
    // As QEMU does, first look what it is, then lock it.
    const storage = await provider.open(name, {
      writable: writable && wrap === undefined,
      lock: "none",
      ...(direct === true && { direct }),
    });
    const disk = await openDisk(wrap?.(storage) ?? storage, diskOptions);
    if (writable && format === undefined && disk.image.format === "raw") {
      context.onProbedRaw?.(name);
    }
    return disk;
  } catch (error) {
    throw asOpenError(error, name);
  }
}

/**
 * Opens the image that `backing` names, with all behind it, as the backing image of a new image
 * called `name`. Nothing is locked unless `lock` says so, which is for whom its data matters.
 */
export async function openBehind(
  backing: BackingReference,
  name: string,
  context: CommandContext,
  lock: LockMode = "none",
): Promise<Disk> {
  const { codecs, signal } = context;
  const lockOf = (format: string): LockMode =>
    format === "raw" && lock === "exclusive" ? "shared" : lock;
  const mode: ImageMode = { writable: false, shared: false, lock: lockOf };
  // The user named this one; only a plain name leads to nothing else.
  const first = backing.name.startsWith("json:") ? context : { ...context, untrusted: false };
  const opened = await openReference(backing, { name }, [], mode, first);
  if (opened instanceof Disk) return opened;
  return openDisk(opened, {
    format: backing.format,
    codecs,
    secrets: context.secrets,
    signal,
    lock: lockOf,
    references: (reference, image, above) => openReference(reference, image, above, mode, context),
  });
}

/** What a name says that is more than one. */
export interface NamedNodes {
  readonly options: NodeOptions;
  readonly openNodes: typeof openNodes;
}

/** The options that the name of an image consists of; undefined where it is a plain name. */
export async function namedNodes(
  { name, format, imageOpts = false }: Pick<OpenImageOptions, "name" | "format" | "imageOpts">,
  { onWarning }: CommandContext,
): Promise<NamedNodes | undefined> {
  if (!imageOpts && !name.startsWith("json:")) return undefined;
  const [nodes, opening] = await Promise.all([
    import("./node-options.ts"),
    import("./open-node.ts"),
  ]);
  if (imageOpts) {
    return { options: nodes.parseNodeList(name, onWarning), openNodes: opening.openNodes };
  }
  const options = nodes.parseNodeJson(name.slice("json:".length));
  if (format !== undefined) options.set("driver", format);
  return { options, openNodes: opening.openNodes };
}

/** QEMU says which of the user's images it was that could not be opened, then why. */
export function asOpenError(error: unknown, name: string): unknown {
  if (!(error instanceof PlatterError) || error.code === "E_ABORTED") return error;
  // It is looked for when the image is open.
  if (error.code === "E_SNAPSHOT_NOT_FOUND") return error;
  const qemu = `Could not open '${name}': ${error.details.qemu ?? error.message}`;
  return new PlatterError(error.code, error.message, { ...error.details, qemu });
}
