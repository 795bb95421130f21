export type { Codec, Codecs, CompressionType } from "./codec.ts";
export type { BlockCipher, Crypto } from "./crypto.ts";
export type {
  FileMove,
  FileMovers,
  FilePart,
  FileSegment,
  Moved,
  MoveFailure,
  MoveHooks,
  StoredRun,
} from "./file-movers.ts";
export { canPack, localPool, pack, unpack } from "./pool.ts";
export type { CodecPool, PackJob, Packed, PackedCluster, UnpackJob, Unpacked } from "./pool.ts";
export { readsOnly } from "./reads-only.ts";
export { portableCodecs } from "./portable.ts";
export { portableZlib } from "./zlib.ts";
export { decompressZstdFrames } from "./zstd.ts";
