import {
  constants,
  deflateRawSync,
  inflateRawSync,
  zstdCompressSync,
  zstdDecompressSync,
} from "node:zlib";
import type { Codec, Codecs, CompressionType } from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import { systemCode } from "./errors.ts";

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

/** Runs a decoder whose output may not exceed `into`, and checks that it filled it. */
function decode(
  type: CompressionType,
  into: Uint8Array,
  run: (limits: Limits) => Uint8Array,
): void {
  const size = into.length;
  let output: Uint8Array;
  try {
    // With one byte to spare, output of the right length ends within the first buffer and is not
    // copied; anything longer trips over maxOutputLength before a third one is made.
    output = run({
      maxOutputLength: Math.max(1, size),
      chunkSize: Math.max(smallestChunk, size + 1),
    });
  } catch (error) {
    if (tooLarge(error)) throw damaged(type, `it is longer than ${size} bytes`, error);
    const reason = error instanceof Error ? error.message : String(error);
    throw damaged(type, reason, error);
  }
  if (output.length !== size) {
    throw damaged(type, `it has ${output.length} bytes where ${size} are expected`);
  }
  into.set(output);
}

/** Runs an encoder; undefined when the result would reach `limit`. */
function encode(limit: number, run: (limits: Limits) => Uint8Array): Uint8Array | undefined {
  if (limit <= 1) return undefined;
  try {
    return run({ maxOutputLength: limit - 1, chunkSize: Math.max(smallestChunk, limit) });
  } catch (error) {
    if (tooLarge(error)) return undefined;
    throw error;
  }
}

/** Raw deflate, written as QEMU writes it: a 4 KiB window and the most memory for matching. */
const zlibCodec: Codec = {
  type: "zlib",
  decompress(packed, into) {
    decode("zlib", into, (limits) =>
      // Other writers use windows up to 32 KiB. A stream whose end mark is missing is judged by its
      // length alone, as QEMU does.
      inflateRawSync(packed, { ...limits, windowBits: 15, finishFlush: constants.Z_SYNC_FLUSH }),
    );
  },
  compress: (data, limit, level = constants.Z_DEFAULT_COMPRESSION) =>
    encode(limit, (limits) =>
      deflateRawSync(data, { ...limits, level, windowBits: 12, memLevel: 9 }),
    ),
};

/**
 * Zstandard at its default level. What a frame says of its content's size is not used to reserve
 * memory: the output is bounded by `into` from the first byte on.
 */
const zstdCodec: Codec = {
  type: "zstd",
  decompress(packed, into) {
    decode("zstd", into, (limits) => zstdDecompressSync(packed, limits));
  },
  compress: (data, limit, level = constants.ZSTD_CLEVEL_DEFAULT) =>
    encode(limit, (limits) =>
      zstdCompressSync(data, {
        ...limits,
        params: { [constants.ZSTD_c_compressionLevel]: level },
        pledgedSrcSize: data.length,
      }),
    ),
};

/** The codecs of `node:zlib`. Both are there at once. */
export const nodeCodecs: Codecs = {
  load: (type) => {
    switch (type) {
      case "zlib":
        return Promise.resolve(zlibCodec);
      case "zstd":
        return Promise.resolve(zstdCodec);
      default:
        return Promise.reject(
          new PlatterError("E_CODEC", `There is no codec for '${String(type)}'.`, { value: type }),
        );
    }
  },
};
