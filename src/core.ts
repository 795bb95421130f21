/**
 * `platter-img/core`: the part of the library that runs anywhere, browsers included. It opens no
 * file by itself; whatever it reads is handed to it as a {@link Storage}.
 *
 * @module
 */

import { portableCodecs } from "./codec/index.ts";
import type { Disk } from "./disk/index.ts";
import { openDisk, type DiskOptions } from "./formats/index.ts";
import type { Storage } from "./storage/index.ts";

export { guest, host } from "./bytes/index.ts";
export type { GuestOffset, HostOffset } from "./bytes/index.ts";
export { errorCodes, PlatterError } from "./errors.ts";
export type { ErrorCode, ErrorDetails } from "./errors.ts";
export { portableCodecs } from "./codec/index.ts";
export type { Codec, Codecs, CompressionType } from "./codec/index.ts";
export { BlobStorage, MemoryStorage } from "./storage/index.ts";
export type {
  CreateStorageOptions,
  HostExtent,
  HostExtentKind,
  HostExtentOptions,
  LockMode,
  MemoryStorageOptions,
  NewStorage,
  OpenMode,
  PublishOptions,
  Storage,
  StorageExtent,
  StorageProvider,
  Volume,
  WritableStorage,
} from "./storage/index.ts";
export { Disk, Kind, Runs, nowhere } from "./disk/index.ts";
export type {
  BackingReference,
  BitmapInfo,
  Bitmaps,
  Change,
  CheckImageOptions,
  CheckProblem,
  CheckReport,
  DecodedField,
  DetectedPreallocation,
  DirtyRange,
  Edge,
  Extent,
  ExtentOptions,
  Image,
  ImageWriter,
  Layout,
  LayoutOptions,
  LayoutPart,
  LayoutRole,
  Mapping,
  Place,
  PlaceTotals,
  Preallocation,
  ResizeOptions,
  StreamOptions,
} from "./disk/index.ts";
export { formats } from "./formats/index.ts";
export type {
  AuditCode,
  AuditFinding,
  AuditReference,
  AuditSeverity,
  DiskOptions,
  Format,
  FormatAudit,
  FormatCreateOptions,
  FormatOpenOptions,
  FormatOption,
  FormatOptionValues,
  NewImage,
  ReferenceResolver,
} from "./formats/index.ts";
export {
  amend,
  audit,
  bitmap,
  check,
  commit,
  compare,
  convert,
  create,
  du,
  explain,
  info,
  listBitmaps,
  map,
  snapshot,
} from "./commands/index.ts";
export type {
  AmendCommandOptions,
  AmendResult,
  AuditedFile,
  AuditOptions,
  AuditPolicy,
  AuditResult,
  BitmapAction,
  BitmapListing,
  BitmapOptions,
  CheckOptions,
  CheckResult,
  CommandContext,
  CommitOptions,
  CommitResult,
  CompareOptions,
  CompareResult,
  ConvertOptions,
  ConvertResult,
  CreateOptions,
  CreateResult,
  Difference,
  DuOptions,
  DuResult,
  ExplainOptions,
  ExplainResult,
  FilePart,
  ImageInfo,
  ImageUsage,
  InfoOptions,
  ListBitmapsOptions,
  MapEntry,
  MapOptions,
  NonZero,
  PartTotal,
  Progress,
  RebaseOptions,
  RebaseResult,
  ResizeCommandOptions,
  ResizeResult,
  SnapshotAction,
  SnapshotOptions,
  SnapshotResult,
  VolumeUsage,
} from "./commands/index.ts";

/**
 * Opens the disk image in `storage`. Nothing that the image names is opened unless
 * `options.references` allows it. Takes charge of `storage`, which is closed with the disk, or when
 * opening fails.
 *
 * Throws `E_REFERENCE_DENIED` when the image needs a backing file and may not have it,
 * `E_UNSUPPORTED_FEATURE`, `E_CORRUPT` and `E_TRUNCATED` when the image cannot be used.
 */
export function open(storage: Storage, options: DiskOptions = {}): Promise<Disk> {
  return openDisk(storage, { codecs: portableCodecs, ...options });
}
