import {
  constants,
  deflateRawSync,
  inflateRawSync,
  zstdCompressSync,
  zstdDecompressSync,
} from "node:zlib";
import {
  decompressZstdFrames,
  portableZlib,
  type Codec,
  type CompressionType,
} from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import { systemCode } from "./errors.ts";
import { defaultZstdLevel } from "./levels.ts";

/** What the calls of node:zlib have in common. */
interface Limits {
  readonly maxOutputLength: number;
  readonly chunkSize: number;
}

/** The smallest output buffer that node:zlib accepts. */
const smallestChunk = 64;

const damaged = (type: CompressionType, reason: string, cause?: unknown): PlatterError =>
  new PlatterError("E_CODEC", `Compressed data (${type}) cannot be decoded: ${reason}.`, {
    value: type,
    cause,
  });

const tooLarge = (error: unknown): boolean => systemCode(error) === "ERR_BUFFER_TOO_LARGE";

/**
 * Limits for a decoder that may yield `size` bytes. With one byte to spare, output of the right length
 * ends within the first buffer and is not copied; anything longer trips over maxOutputLength before a
 * third one is made.
 */
const upTo = (size: number): Limits => ({
  maxOutputLength: Math.max(1, size),
  chunkSize: Math.max(smallestChunk, size + 1),
});

/** Runs an encoder; undefined when the result does not fit `into`. */
function encode(into: Uint8Array, run: (limits: Limits) => Uint8Array): number | undefined {
  const { length } = into;
  if (length === 0) return undefined;
  try {
    const chunkSize = Math.max(smallestChunk, length + 1);
    const packed = run({ maxOutputLength: length, chunkSize });
    into.set(packed);
    return packed.length;
  } catch (error) {
    if (tooLarge(error)) return undefined;
    throw error;
  }
}

/** Raw deflate, written as QEMU writes it: a 4 KiB window and the most memory for matching. */
export const zlibCodec: Codec = {
  type: "zlib",
  decompress(packed, into) {
    let output: Uint8Array;
    try {
      // Other writers use windows up to 32 KiB. A stream whose end mark is missing is judged by its
      // length alone, as QEMU does.
      const finishFlush = constants.Z_SYNC_FLUSH;
      output = inflateRawSync(packed, { ...upTo(into.length), windowBits: 15, finishFlush });
    } catch (error) {
      // node:zlib cannot stop in the middle of a stream that goes on after the cluster is full.
      if (tooLarge(error)) {
        portableZlib.decompress(packed, into);
        return;
      }
      throw damaged("zlib", error instanceof Error ? error.message : String(error), error);
    }
    if (output.length !== into.length) {
      throw damaged("zlib", `it has ${output.length} bytes where ${into.length} are expected`);
    }
    into.set(output);
  },
  compress: (data, into, level = constants.Z_DEFAULT_COMPRESSION) =>
    encode(into, (limits) =>
      deflateRawSync(data, { ...limits, level, windowBits: 12, memLevel: 9 }),
    ),
};

/**
 * Zstandard. What a frame says of its content's size is not used to reserve
 * memory: the output is bounded by `into` from the first byte on.
 */
export const zstdCodec: Codec = {
  type: "zstd",
  decompress(packed, into) {
    decompressZstdFrames(packed, into, (frame, room) => zstdDecompressSync(frame, upTo(room)));
  },
  compress: (data, into, level = defaultZstdLevel) =>
    encode(into, (limits) =>
      zstdCompressSync(data, {
        ...limits,
        params: { [constants.ZSTD_c_compressionLevel]: level },
        pledgedSrcSize: data.length,
      }),
    ),
};
