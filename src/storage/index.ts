export type { CreateStorageOptions, NewStorage, OpenMode, StorageProvider } from "./provider.ts";
export type { Storage, StorageExtent, WritableStorage } from "./storage.ts";
