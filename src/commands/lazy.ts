/** Commands that most programs do not use, loaded when they are. */

import type { Measurement } from "../formats/index.ts";
import type { AmendCommandOptions, AmendResult } from "./amend.ts";
import type { AuditOptions, AuditResult } from "./audit.ts";
import type { BenchOptions, BenchResult } from "./bench.ts";
import type { CommitOptions, CommitResult } from "./commit.ts";
import type { CommandContext } from "./context.ts";
import type { DdOptions, DdResult } from "./dd.ts";
import type { DuOptions, DuResult } from "./du.ts";
import type { ExplainOptions, ExplainResult } from "./explain.ts";
import type { MeasureCommandOptions } from "./measure.ts";
import type { RebaseOptions, RebaseResult } from "./rebase.ts";
import type { ResizeCommandOptions, ResizeResult } from "./resize.ts";
import type { SnapshotOptions, SnapshotResult } from "./snapshot.ts";

/**
 * Measures what images take: for the guest, as files, and on the host. Opens nothing that they name.
 * Throws what opening and reading an image throws; `E_ABORTED`.
 */
export async function du(options: DuOptions, context: CommandContext): Promise<DuResult> {
  const command = await import("./du.ts");
  return command.du(options, context);
}

/**
 * Explains where every byte of an image file goes. Opens nothing that the image names. Throws what
 * opening and reading an image throws; `E_ABORTED`.
 */
export async function explain(
  options: ExplainOptions,
  context: CommandContext,
): Promise<ExplainResult> {
  const command = await import("./explain.ts");
  return command.explain(options, context);
}

/**
 * Tells how large a new image file would become. Throws `E_INVALID_ARGUMENT` for options that do not
 * go together, `E_UNSUPPORTED` for a format whose size cannot be told, and what opening throws.
 */
export async function measure(
  options: MeasureCommandOptions,
  context: CommandContext,
): Promise<Measurement> {
  const command = await import("./measure.ts");
  return command.measure(options, context);
}

/**
 * Copies a range of blocks of a disk into a new image, or with `keepTarget` into an existing one.
 * Throws what opening, creating, reading and writing throw; `E_SAME_FILE`, `E_ABORTED`.
 */
export async function dd(options: DdOptions, context: CommandContext): Promise<DdResult> {
  const command = await import("./dd.ts");
  return command.dd(options, context);
}

/**
 * Sends requests to a disk and takes the time. Throws what opening, reading and writing throw;
 * `E_INVALID_SIZE` for an empty disk, `E_ABORTED`.
 */
export async function bench(options: BenchOptions, context: CommandContext): Promise<BenchResult> {
  const command = await import("./bench.ts");
  return command.bench(options, context);
}

/**
 * Makes a disk larger or smaller; what is added reads as zeros. Throws `E_INVALID_SIZE` when it would
 * become smaller without `shrink`, or nothing would be left of it, and what opening and resizing throw.
 */
export async function resize(
  options: ResizeCommandOptions,
  context: CommandContext,
): Promise<ResizeResult> {
  const command = await import("./resize.ts");
  return command.resize(options, context);
}

/**
 * Writes what an overlay holds into an image behind it. Throws `E_UNSUPPORTED` where there is none,
 * `E_NOT_FOUND` when `base` is not in the chain, and what opening, reading and writing throw; the
 * overlay is emptied only after everything is on stable storage below.
 */
export async function commit(
  options: CommitOptions,
  context: CommandContext,
): Promise<CommitResult> {
  const command = await import("./commit.ts");
  return command.commit(options, context);
}

/**
 * Gives an overlay another backing file, keeping what the guest sees unless `unsafe`. Throws
 * `E_INVALID_ARGUMENT` without a format for the new one, `E_UNSUPPORTED` for a format without backing
 * files, `E_NO_SPACE` when the name does not fit, and what opening, reading and writing throw; the image
 * then holds more data than before and shows the same.
 */
export async function rebase(
  options: RebaseOptions,
  context: CommandContext,
): Promise<RebaseResult> {
  const command = await import("./rebase.ts");
  return command.rebase(options, context);
}

/**
 * Lists, makes, applies or removes internal snapshots. Throws `E_SNAPSHOT_NOT_FOUND`, `E_UNSUPPORTED` for
 * images that cannot have any, `E_LIMIT`, and what opening, reading and writing throw; the image then has
 * the snapshots that it had.
 */
export async function snapshot(
  options: SnapshotOptions,
  context: CommandContext,
): Promise<SnapshotResult> {
  const command = await import("./snapshot.ts");
  return command.snapshot(options, context);
}

/**
 * Changes properties of an existing image. Throws `E_UNSUPPORTED` for formats that have none to change,
 * `E_INVALID_ARGUMENT` for values that are wrong or do not go together, before anything is changed, and
 * what opening, reading and writing throw.
 */
export async function amend(
  options: AmendCommandOptions,
  context: CommandContext,
): Promise<AmendResult> {
  const command = await import("./amend.ts");
  return command.amend(options, context);
}

/**
 * Judges files from strangers, one after another, without opening them as images and without following
 * what they name. A file that cannot be read has the finding `cannot-read`; throws `E_ABORTED` only.
 */
export async function audit(options: AuditOptions, context: CommandContext): Promise<AuditResult> {
  const command = await import("./audit.ts");
  return command.audit(options, context);
}
