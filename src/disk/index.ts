export type { AmendOptions } from "./amend.ts";
export type { BitmapInfo, Bitmaps, DirtyRange } from "./bitmaps.ts";
export type {
  CheckImageOptions,
  CheckProblem,
  CheckReport,
  Progress,
  RepairImageOptions,
  RepairReport,
} from "./check.ts";
export type { SectorCipher } from "./cipher.ts";
export { cipherSector } from "./cipher.ts";
export { detectPreallocation } from "./detect-preallocation.ts";
export type { DetectedPreallocation } from "./detect-preallocation.ts";
export { Disk } from "./disk.ts";
export { DiskStorage } from "./disk-storage.ts";
export { Gatherer } from "./gather.ts";
export type { GuestRange, Located, LocatedPiece } from "./gather.ts";
export type { Extent, ExtentOptions } from "./extents.ts";
export { HostAllocation, HostState } from "./host-allocation.ts";
export type {
  BackingReference,
  Change,
  Edge,
  FileReference,
  Image,
  ImageWriter,
  Places,
  Preallocation,
  ResizeOptions,
} from "./image.ts";
export type { DecodedField, Layout, LayoutOptions, LayoutPart, LayoutRole } from "./layout.ts";
export { Leases } from "./leases.ts";
export { Kind, Runs, nowhere } from "./mapping.ts";
export type { Mapping } from "./mapping.ts";
export type { PendingWrite } from "./pending-write.ts";
export { Place, placeTotals, walkPlaces } from "./placement.ts";
export type { PlaceTotals } from "./placement.ts";
export { RangeLock } from "./range-lock.ts";
export { Serial } from "./serial.ts";
export { findSnapshot } from "./snapshots.ts";
export type { NewSnapshot, SnapshotInfo, SnapshotReference, Snapshots } from "./snapshots.ts";
export type { StreamOptions } from "./streams.ts";
