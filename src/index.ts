/**
 * `platter-img`: the library for Node. Everything of `platter-img/core`, with files, locks, and the
 * codecs of Node.
 *
 * @module
 */

import { Disk } from "./disk/index.ts";
import {
  openDisk,
  type DiskOptions,
  type Measurement,
  type ReferenceResolver,
} from "./formats/index.ts";
import { fileProvider, nodeCodecs, sameBytes } from "./host/index.ts";
import { PlatterError } from "./errors.ts";
import { TimedStorage } from "./storage/index.ts";
import type { LockMode, Storage } from "./storage/index.ts";
import * as commands from "./commands/index.ts";
import type { CommandContext } from "./commands/index.ts";

export * from "./core.ts";
export type {
  BenchOptions,
  BenchResult,
  DdOptions,
  DdResult,
  MeasureCommandOptions,
  MeasureSource,
} from "./commands/index.ts";
export type { Measurement, MeasureOptions, StoredRange } from "./formats/index.ts";
export { FileStorage, fileProvider, missingCapabilities, nodeCodecs } from "./host/index.ts";
export { TimedStorage, timedProvider } from "./storage/index.ts";
export { explainUsage, explainVolumes } from "./commands/index.ts";
export type { UsageNote } from "./commands/index.ts";
export type { FileProviderOptions } from "./host/index.ts";

/** How an image in a file is opened. */
export interface OpenOptions extends Omit<DiskOptions, "references" | "lock"> {
  /**
   * What happens when an image names another file. `"deny"` (the default) throws
   * `E_REFERENCE_DENIED`; `"follow"` opens what `qemu-img` would open, so do that only with images
   * you trust; a function decides case by case.
   */
  readonly references?: "deny" | "follow" | "ignore" | ReferenceResolver;
  /**
   * What other programs may do with the file meanwhile, by QEMU's locks. `"exclusive"` (the
   * default): not write while we read, nothing while we write; `"shared"`: as they like; `"none"`:
   * take no lock.
   */
  readonly lock?: LockMode;
  /**
   * Milliseconds within which each request of a storage has to be answered; otherwise it, and all later
   * ones, fail with `E_TIMEOUT`. Also for the files that the image names, and for a storage that is given.
   * Default: none. A request that hangs in the kernel keeps Node from ending, so end the process yourself then.
   */
  readonly timeout?: number;
}

/**
 * Opens a disk image: a path, or any {@link Storage}. Use `await using`, or call `close()`.
 *
 * Throws a {@link PlatterError} with a stable `code`; see `docs/errors.md`.
 */
export async function open(image: string | Storage, options: OpenOptions = {}): Promise<Disk> {
  const { references = "deny", lock = "exclusive", writable = false, timeout, ...rest } = options;
  const limited = timeout === undefined ? undefined : checkedTimeout(timeout);
  const provider = limited === undefined ? files : fileProvider({ timeout: limited });
  const timed = <T extends Storage | Disk>(given: T): T | TimedStorage =>
    limited === undefined || given instanceof Disk ? given : new TimedStorage(given, limited);
  const storage =
    typeof image === "string" ? await provider.open(image, { writable, lock }) : timed(image);
  const resolver: DiskOptions["references"] =
    references === "follow"
      ? (reference, { name }) =>
          provider.open(provider.resolve(reference.name, name, reference.kind), {
            writable: reference.writable,
          })
      : typeof references === "function"
        ? async (...named) => timed(await references(...named))
        : references;
  return openDisk(storage, { codecs: nodeCodecs, ...rest, writable, references: resolver });
}

/** What a command may be given; everything has a default that suits Node. */
export type CommandOptions = Partial<CommandContext>;

const files = fileProvider();

function checkedTimeout(timeout: number): number {
  if (timeout > 0 && timeout <= 2 ** 31 - 1) return timeout;
  throw new PlatterError(
    "E_INVALID_ARGUMENT",
    `A timeout is a number of milliseconds above 0 and below 2^31, not ${timeout}.`,
    { field: "timeout", value: timeout },
  );
}

const context = (given: CommandOptions): CommandContext => ({
  provider: files,
  codecs: nodeCodecs,
  sameBytes,
  ...given,
});

/** Creates an empty image; see {@link commands.CreateOptions}. */
export const create = (
  options: commands.CreateOptions,
  given: CommandOptions = {},
): Promise<commands.CreateResult> => commands.create(options, context(given));

/** Describes an image, or its whole backing chain; see {@link commands.InfoOptions}. */
export const info = (
  options: commands.InfoOptions,
  given: CommandOptions = {},
): Promise<commands.ImageInfo[]> => commands.info(options, context(given));

/** Lists where an image's data is; see {@link commands.MapOptions}. */
export const map = (
  options: commands.MapOptions,
  given: CommandOptions = {},
): AsyncGenerator<commands.MapEntry> => commands.map(options, context(given));

/** Tells how large a new image file would become; see {@link commands.MeasureCommandOptions}. */
export const measure = (
  options: commands.MeasureCommandOptions,
  given: CommandOptions = {},
): Promise<Measurement> => commands.measure(options, context(given));

/** Copies blocks of a disk into a new image, or an existing one; see {@link commands.DdOptions}. */
export const dd = (
  options: commands.DdOptions,
  given: CommandOptions = {},
): Promise<commands.DdResult> => commands.dd(options, context(given));

/** Takes the time that many requests to an image need; see {@link commands.BenchOptions}. */
export const bench = (
  options: commands.BenchOptions,
  given: CommandOptions = {},
): Promise<commands.BenchResult> => commands.bench(options, context(given));

/** Compares what two images contain; see {@link commands.CompareOptions}. */
export const compare = (
  options: commands.CompareOptions,
  given: CommandOptions = {},
): Promise<commands.CompareResult> => commands.compare(options, context(given));

/** Looks for inconsistencies in an image; see {@link commands.CheckOptions}. */
export const check = (
  options: commands.CheckOptions,
  given: CommandOptions = {},
): Promise<commands.CheckResult> => commands.check(options, context(given));

/** Copies images into a new or an existing one; see {@link commands.ConvertOptions}. */
export const convert = (
  options: commands.ConvertOptions,
  given: CommandOptions = {},
): Promise<commands.ConvertResult> => commands.convert(options, context(given));

/** Measures what images take, and why; see {@link commands.DuOptions}. */
export const du = (
  options: commands.DuOptions,
  given: CommandOptions = {},
): Promise<commands.DuResult> => commands.du(options, context(given));

/** Explains where every byte of an image file goes; see {@link commands.ExplainOptions}. */
export const explain = (
  options: commands.ExplainOptions,
  given: CommandOptions = {},
): Promise<commands.ExplainResult> => commands.explain(options, context(given));

/** Changes a persistent bitmap; see {@link commands.BitmapOptions}. */
export const bitmap = (
  options: commands.BitmapOptions,
  given: CommandOptions = {},
): Promise<void> => commands.bitmap(options, context(given));

/** Lists the persistent bitmaps of an image; see {@link commands.ListBitmapsOptions}. */
export const listBitmaps = (
  options: commands.ListBitmapsOptions,
  given: CommandOptions = {},
): Promise<commands.BitmapListing[]> => commands.listBitmaps(options, context(given));

/** Makes a disk larger or smaller; see {@link commands.ResizeCommandOptions}. */
export const resize = (
  options: commands.ResizeCommandOptions,
  given: CommandOptions = {},
): Promise<commands.ResizeResult> => commands.resize(options, context(given));

/** Lists, makes, applies or removes internal snapshots; see {@link commands.SnapshotOptions}. */
export const snapshot = (
  options: commands.SnapshotOptions,
  given: CommandOptions = {},
): Promise<commands.SnapshotResult> => commands.snapshot(options, context(given));

/** Changes properties of an existing image; see {@link commands.AmendCommandOptions}. */
export const amend = (
  options: commands.AmendCommandOptions,
  given: CommandOptions = {},
): Promise<commands.AmendResult> => commands.amend(options, context(given));

/** Writes what an overlay holds into an image behind it; see {@link commands.CommitOptions}. */
export const commit = (
  options: commands.CommitOptions,
  given: CommandOptions = {},
): Promise<commands.CommitResult> => commands.commit(options, context(given));

/** Gives an overlay another image to be based on; see {@link commands.RebaseOptions}. */
export const rebase = (
  options: commands.RebaseOptions,
  given: CommandOptions = {},
): Promise<commands.RebaseResult> => commands.rebase(options, context(given));

/** Judges files from strangers, following nothing that they name; see {@link commands.AuditOptions}. */
export const audit = (
  options: commands.AuditOptions,
  given: CommandOptions = {},
): Promise<commands.AuditResult> => commands.audit(options, context(given));
