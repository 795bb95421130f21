export type { CreateStorageOptions, NewStorage, OpenMode, StorageProvider } from "./provider.ts";
export type { LockMode, Storage, StorageExtent, WritableStorage } from "./storage.ts";
