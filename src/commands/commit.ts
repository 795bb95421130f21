import { copy, fromDisk, type CopySource } from "../copy/index.ts";
import type { Disk } from "../disk/index.ts";
import { inPart, PlatterError } from "../errors.ts";
import type { CommandContext } from "./context.ts";
import { info } from "./info.ts";
import { openImage, type OpenImageOptions } from "./open.ts";

/** Which image to commit, and into which. */
export interface CommitOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /**
   * The image of the chain that gets the data, as it is named from the image above it; the next one
   * when absent. Images between stay as they are, and so does the top one.
   */
  readonly base?: string | undefined;
  /** Leave the image as it is; otherwise it is emptied. */
  readonly keep?: boolean | undefined;
  /** Guest data and metadata reach stable storage in order; default true. */
  readonly sync?: boolean | undefined;
  /** Every write is followed by a flush. */
  readonly writethrough?: boolean | undefined;
  /** Past the host's page cache. */
  readonly direct?: boolean | undefined;
  /** Most bytes of data copied in a second. */
  readonly bytesPerSecond?: number | undefined;
}

/** What came of it. */
export interface CommitResult {
  readonly filename: string;
  /** The image that has the data now. */
  readonly base: string;
  /** Bytes of the disk that it has got. */
  readonly size: number;
  readonly emptied: boolean;
}

/** See the function of the same name in lazy.ts. */
export async function commit(
  options: CommitOptions,
  context: CommandContext,
): Promise<CommitResult> {
  const { name, format, imageOpts, base, direct, sync = true } = options;
  const keep = options.keep === true || base !== undefined;
  const depth = base === undefined ? 1 : await depthOf(base, options, context);
  const opening = { name, format, imageOpts, direct };
  const disk = await openImage(
    { ...opening, writable: true, barriers: sync, writableDepth: depth },
    context,
  ).catch(async (error: unknown) => {
    throw await asLockedBelow(error, opening, context);
  });
  let target: Disk | undefined = disk;
  let isCopying = false;
  try {
    for (let i = 0; i < depth; i++) target = target?.backing;
    if (target === undefined) throw noBacking(name);
    isCopying = true;
    if (target.size < disk.size) await target.resize(disk.size);
    await copyDown(disk, target, depth, options, context);
    isCopying = false;
    if (!keep) {
      await disk.image.writer?.makeEmpty?.();
      await disk.flush();
    }
  } catch (error) {
    await disk.close().catch(() => undefined);
    throw isCopying && target !== undefined ? inPart(error, target.name) : error;
  }
  const result = { filename: disk.name, base: target.name, size: disk.size, emptied: !keep };
  await disk.close();
  return result;
}

/**
 * QEMU opens what is below for reading first, and for writing when it is all open: it is by then that the
 * words for an image that is only read by others come.
 */
async function asLockedBelow(
  error: unknown,
  opening: OpenImageOptions,
  context: CommandContext,
): Promise<unknown> {
  if (!(error instanceof PlatterError) || error.code !== "E_LOCKED") return error;
  const { details } = error;
  if (details.qemu?.includes("Could not open backing file") !== true) return error;
  try {
    const disk = await openImage(opening, context);
    await disk.close();
  } catch (refused) {
    return refused;
  }
  const qemu = details.qemu?.replace(/^.*?(?=Failed to get)/s, "");
  return new PlatterError(error.code, error.message, { ...details, qemu });
}

/** Brings what the layers above `target` have to it, for good. */
async function copyDown(
  disk: Disk,
  target: Disk,
  depth: number,
  { writethrough, bytesPerSecond }: CommitOptions,
  { codecs, signal, onProgress }: CommandContext,
): Promise<void> {
  await copy(above(disk, depth), target, codecs, {
    topLayerOnly: true,
    unit: unitOf(target),
    // What is data above is data below: zeros are not looked for.
    sparse: Infinity,
    signal,
    onProgress,
    words: () => "Block job failed: ",
    ...(writethrough === true && { writethrough: true }),
    ...(bytesPerSecond !== undefined && { bytesPerSecond }),
  });
  // Nothing is let go of above before it is safe below.
  await target.flush();
}

/** QEMU copies in clusters of the base, of at least 4 KiB and at most 64 KiB. */
const unitOf = ({ image }: Disk): number =>
  image.clusterSize > 1 ? Math.min(65536, Math.max(4096, image.clusterSize)) : 65536;

/** What the layers above `depth` have. */
function above(disk: Disk, depth: number): CopySource {
  return {
    ...fromDisk(disk),
    async *extents(options) {
      for await (const extent of disk.extents(options)) {
        yield { ...extent, depth: extent.depth < depth ? 0 : 1 };
      }
    },
  };
}

/** How far down the chain the image is that `base` names. */
async function depthOf(
  base: string,
  { name, format, imageOpts }: CommitOptions,
  context: CommandContext,
): Promise<number> {
  const { provider } = context;
  const chain = await info({ name, format, imageOpts, backingChain: true, shared: true }, context);
  const found = chain.findIndex(
    ({ filename, backingFilename, fullBackingFilename }) =>
      backingFilename !== undefined &&
      (backingFilename === base ||
        plain(fullBackingFilename) === plain(provider.resolve(base, filename))),
  );
  if (found >= 0) return found + 1;
  throw new PlatterError(
    "E_NOT_FOUND",
    `${name}: no image of its backing chain is called "${base}"`,
    {
      file: name,
      field: "base",
      value: base,
      qemu: `Did not find '${base}' in the backing chain of '${name}'`,
    },
  );
}

/** A path without steps that stay where they are. */
const plain = (path: string | undefined): string | undefined =>
  path?.replaceAll(/(^|\/)(?:\.\/+)+/g, "$1");

const noBacking = (name: string): PlatterError =>
  new PlatterError("E_UNSUPPORTED", `${name}: there is no image behind it to commit to`, {
    file: name,
    field: "backing file",
    qemu: "Image does not have a backing file",
  });
