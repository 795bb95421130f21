import type { Crypto } from "./crypto.ts";

/** The compression types that qcow2 knows (specification, "compression_type"). */
export type CompressionType = "zlib" | "zstd";

/**
 * One compression method, working on whole clusters. Node fills this from `node:zlib`, a browser
 * from JavaScript and WebAssembly; a program can bring its own.
 */
export interface Codec {
  readonly type: CompressionType;
  /**
   * Decompresses `packed` into `into`, filling it completely. Bytes of `packed` after the end of
   * the stream are ignored. Throws `E_CODEC` when the stream is damaged or ends before `into` is
   * full, and for zstd when a frame holds more than fits; of a zlib stream, the rest is ignored, as
   * QEMU does.
   */
  decompress(packed: Uint8Array, into: Uint8Array): void;
  /**
   * Compresses `data`. Returns undefined when the result would not be smaller than `limit` bytes.
   * Absent: this codec can only read.
   */
  compress?(data: Uint8Array, limit: number, level?: number): Uint8Array | undefined;
}

/**
 * The codecs at hand. `load` resolves once the codec can be used synchronously (WebAssembly has to
 * be compiled first); it rejects with `E_CODEC` naming the type when there is none.
 */
export interface Codecs {
  load(type: CompressionType): Promise<Codec>;
  /** What encrypted images need. Absent: they cannot be used. */
  crypto?(): Promise<Crypto>;
}
