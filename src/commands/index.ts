export { bitmap, listBitmaps } from "./bitmap.ts";
export type { BitmapAction, BitmapListing, BitmapOptions, ListBitmapsOptions } from "./bitmap.ts";
export type { BenchOptions, BenchResult } from "./bench.ts";
export { check } from "./check.ts";
export type { CheckOptions, CheckResult } from "./check.ts";
export { compare } from "./compare.ts";
export type { CompareOptions, CompareResult, Difference } from "./compare.ts";
export type { CommandContext, Progress } from "./context.ts";
export { convert } from "./convert.ts";
export type { ConvertOptions, ConvertResult } from "./convert.ts";
export { create } from "./create.ts";
export type { CreateOptions, CreateResult } from "./create.ts";
export type { DuOptions, DuResult, ImageUsage, NonZero, VolumeUsage } from "./du.ts";
export { explainUsage, explainVolumes, percent } from "./du-words.ts";
export {
  amend,
  audit,
  commit,
  bench,
  dd,
  du,
  explain,
  measure,
  resize,
  rebase,
  snapshot,
} from "./lazy.ts";
export type { AuditedFile, AuditOptions, AuditPolicy, AuditResult } from "./audit.ts";
export { parseAuditPolicy } from "./audit-policy.ts";
export type { AmendCommandOptions, AmendResult } from "./amend.ts";
export type { RebaseOptions, RebaseResult } from "./rebase.ts";
export type { CommitOptions, CommitResult } from "./commit.ts";
export type { SnapshotAction, SnapshotOptions, SnapshotResult } from "./snapshot.ts";
export type { ResizeCommandOptions, ResizeResult } from "./resize.ts";
export type { UsageNote } from "./du-words.ts";
export type { ExplainOptions, ExplainResult, FilePart, PartTotal } from "./explain.ts";
export type { DdOptions, DdResult } from "./dd.ts";
export { info } from "./info.ts";
export type { ImageInfo, InfoOptions } from "./info.ts";
export type { MeasureCommandOptions, MeasureSource } from "./measure.ts";
export { nativeNeedsDirect } from "./open-reference.ts";
export { parseQemuJson } from "./qemu-json.ts";
export type { QemuJson } from "./qemu-json.ts";
export { qemuKeyOrder } from "./qdict.ts";
export { map } from "./map.ts";
export type { MapEntry, MapOptions } from "./map.ts";
