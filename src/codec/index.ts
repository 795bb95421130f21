export type { Codec, Codecs, CompressionType } from "./codec.ts";
