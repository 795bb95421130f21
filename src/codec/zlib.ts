import {
  Z_DATA_ERROR,
  Z_DEFAULT_STRATEGY,
  Z_FINISH,
  Z_OK,
  Z_STREAM_END,
  ZStream,
  zlibDeflate,
  zlibDeflateEnd,
  zlibDeflateInit2,
  zlibInflate,
  zlibInflateEnd,
  zlibInflateInit2,
} from "pako";
import { PlatterError } from "../errors.ts";
import type { Codec } from "./codec.ts";

/** The only method that zlib knows (zlib.h, `Z_DEFLATED`). */
const deflated = 8;

/** What QEMU writes: a window of 4 KiB. Negative means raw deflate, without header and checksum. */
const writeWindowBits = -12;

/** The largest window, because other writers use larger ones than QEMU does. */
const readWindowBits = -15;

/** The hash table and symbol buffer that QEMU asks zlib for; the largest there are. */
const memoryLevel = 9;

/** zlib's own choice of level, 6 at present (zlib.h, `Z_DEFAULT_COMPRESSION`). */
const defaultLevel = -1;

/**
 * qcow2's compression type 0: raw deflate (RFC 1951) in plain JavaScript, for browsers and wherever
 * there is no `node:zlib`.
 *
 * The decoder writes straight into the caller's buffer and takes besides only its window of at most
 * 32 KiB, whatever the stream claims. It stops when the cluster is full, as QEMU does: a stream whose
 * end mark is cut off, or that would go on, is accepted.
 */
export const portableZlib: Codec = {
  type: "zlib",
  decompress(packed, into) {
    const stream = new ZStream();
    zlibInflateInit2(stream, readWindowBits);
    try {
      feed(stream, packed, into);
      const status = zlibInflate(stream, Z_FINISH);
      // The cluster is full: whether the stream says that this is its end does not matter.
      if (stream.avail_out === 0 && status !== Z_DATA_ERROR) return;
      if (status === Z_DATA_ERROR) {
        throw damaged(packed, stream.msg === "" ? "the stream is damaged" : stream.msg);
      }
      const filled = into.length - stream.avail_out;
      throw damaged(packed, `it ends after ${filled} of ${into.length} bytes`);
    } finally {
      zlibInflateEnd(stream);
    }
  },
  compress(data, into, level = defaultLevel) {
    // Deflate reports the end only with room to spare, so the buffer has one byte too many.
    const room = Math.min(into.length + 1, worstCase(data.length));
    const stream = new ZStream();
    const status = zlibDeflateInit2(
      stream,
      level,
      deflated,
      writeWindowBits,
      memoryLevel,
      Z_DEFAULT_STRATEGY,
    );
    if (status !== Z_OK) {
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `Compression level ${level} is not known to zlib: use a whole number from 0 to 9.`,
        { field: "level", value: level },
      );
    }
    try {
      const packed = new Uint8Array(room);
      feed(stream, data, packed);
      // With too little room, deflate stops where the room ends: incompressible data costs no more
      // than finding that out.
      if (zlibDeflate(stream, Z_FINISH) !== Z_STREAM_END) return undefined;
      into.set(packed.subarray(0, stream.total_out));
      return stream.total_out;
    } finally {
      zlibDeflateEnd(stream);
    }
  },
};

/**
 * More bytes than deflate makes of `length` bytes at any level: stored blocks cost five bytes each
 * and hold hundreds.
 */
function worstCase(length: number): number {
  return length + (length >>> 3) + 64;
}

function feed(stream: ZStream, from: Uint8Array, into: Uint8Array): void {
  stream.input = from;
  stream.next_in = 0;
  stream.avail_in = from.length;
  lend(stream, into);
}

/** Gives `stream` another buffer to write to. */
function lend(stream: ZStream, into: Uint8Array): void {
  // Pako's types ask for bytes that are not shared between threads; its code sets elements only.
  stream.output = into as Uint8Array<ArrayBuffer>;
  stream.next_out = 0;
  stream.avail_out = into.length;
}

function damaged(packed: Uint8Array, what: string): PlatterError {
  return new PlatterError(
    "E_CODEC",
    `A zlib stream in ${packed.length} bytes cannot be decompressed: ${what}.`,
  );
}
