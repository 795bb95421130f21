export { BlobStorage } from "./blob.ts";
export { FaultyStorage } from "./faulty.ts";
export type { FaultyStorageOptions } from "./faulty.ts";
export { FilterStorage } from "./filter.ts";
export type { StorageCall } from "./filter.ts";
export type { HostExtent, HostExtentKind, HostExtentOptions, Volume } from "./host-extents.ts";
export { MemoryStorage } from "./memory.ts";
export type { MemoryStorageOptions } from "./memory.ts";
export type {
  CreateStorageOptions,
  NewStorage,
  OpenMode,
  PublishOptions,
  StorageProvider,
} from "./provider.ts";
export { applyRecorded, RecordingStorage } from "./recorder.ts";
export type { Recorded } from "./recorder.ts";
export type {
  LockMode,
  OpenDescriptor,
  Storage,
  StorageExtent,
  WritableStorage,
} from "./storage.ts";
export { TimedStorage, timedProvider } from "./timed.ts";
export { ScratchStorage } from "./scratch.ts";
export type { ScratchWrite } from "./scratch.ts";
