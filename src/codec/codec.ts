import type { Bytes } from "../bytes/index.ts";
import type { Crypto } from "./crypto.ts";
import type { FileMovers } from "./file-movers.ts";
import type { CodecPool } from "./pool.ts";

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
   * Compresses `data` into the start of `into` and returns the packed length; undefined when there is
   * not enough room, whatever is in `into` then. Absent: this codec can only read.
   */
  compress?(data: Uint8Array, into: Uint8Array, level?: number): number | undefined;
}

/**
 * The codecs at hand. `load` resolves once the codec can be used synchronously (WebAssembly has to
 * be compiled first); it rejects with `E_CODEC` naming the type when there is none.
 */
export interface Codecs {
  load(type: CompressionType): Promise<Codec>;
  /** What encrypted images need. Absent: they cannot be used. */
  crypto?(): Promise<Crypto>;
  /**
   * The codecs on `threads` threads, by default one for each processor. The caller closes it. Absent:
   * there are no threads.
   */
  pool?(threads?: number): CodecPool;
  /**
   * What copies between files, on `threads` threads, by default a few. The caller closes it. Absent: there are no files
   * that threads can reach.
   */
  movers?(threads?: number): FileMovers;
  /** Makes buffers for large pieces of data, such as the system moves fastest. Absent: any will do. */
  readonly allocate?: (length: number) => Bytes;
}
