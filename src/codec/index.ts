export type { Codec, Codecs, CompressionType } from "./codec.ts";
export { portableCodecs } from "./portable.ts";
export { readZstdFrame } from "./zstd-frame.ts";
export type { ZstdFrame } from "./zstd-frame.ts";
