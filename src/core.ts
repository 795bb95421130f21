/**
 * `platter-img/core`: the part of the library that runs anywhere, browsers included. It opens no
 * file by itself; whatever it reads is handed to it as a {@link Storage}.
 *
 * @module
 */

export { errorCodes, PlatterError } from "./errors.ts";
export type { ErrorCode, ErrorDetails } from "./errors.ts";
export type { Codec, Codecs, CompressionType } from "./codec/index.ts";
export type {
  CreateStorageOptions,
  NewStorage,
  OpenMode,
  Storage,
  StorageExtent,
  StorageProvider,
  WritableStorage,
} from "./storage/index.ts";
