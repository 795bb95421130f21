export type { Codec, Codecs, CompressionType } from "./codec.ts";
export type { BlockCipher, Crypto } from "./crypto.ts";
export { portableCodecs } from "./portable.ts";
export { portableZlib } from "./zlib.ts";
export { decompressZstdFrames } from "./zstd.ts";
