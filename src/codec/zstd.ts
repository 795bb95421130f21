import type { ZSTDDecoder } from "zstddec";
import { PlatterError } from "../errors.ts";
import type { Codec } from "./codec.ts";
import { readZstdFrame } from "./zstd-frame.ts";

/**
 * The window that decoders accept unless told otherwise (zstd.h, `ZSTD_WINDOWLOG_LIMIT_DEFAULT`);
 * QEMU does not tell.
 */
const largestWindow = 2 ** 27;

/**
 * Loads the WebAssembly decoder and makes qcow2's compression type 1 of it. The module carries its
 * WebAssembly inside and reads it as a `data:` URL, so it needs no file and no server, but a page
 * with a content security policy has to allow `connect-src data:` and `'wasm-unsafe-eval'`.
 *
 * There is no `compress`: no zstd encoder was found that works in a bundle without a second file.
 *
 * @throws PlatterError `E_CODEC` when the decoder cannot be loaded.
 */
export async function loadPortableZstd(): Promise<Codec> {
  let decoder: ZSTDDecoder;
  try {
    const module = await import("zstddec");
    decoder = new module.ZSTDDecoder();
    await decoder.init();
  } catch (cause) {
    throw new PlatterError(
      "E_CODEC",
      "The zstd decoder cannot be loaded: the package zstddec has to be installed and WebAssembly allowed.",
      { value: "zstd", cause },
    );
  }
  return {
    type: "zstd",
    decompress: (packed, into) =>
      decompressZstdFrames(packed, into, (frame, room) =>
        // Naming the size keeps the decoder from believing the frame's own; its error codes are
        // negative lengths, which end up as no data.
        decoder.decode(frame, room),
      ),
  };
}

/**
 * Decompresses frame after frame until `into` is full: a cluster may be packed as several, and QEMU
 * reads such; and what follows in its last sector may be the next cluster's first frame.
 * `decodeFrame` gets one whole frame that is not empty, and how many bytes it may yield at most.
 * Throws `E_CODEC`.
 */
export function decompressZstdFrames(
  packed: Uint8Array,
  into: Uint8Array,
  decode: (frame: Uint8Array, room: number) => Uint8Array,
): void {
  let at = 0;
  let filled = 0;
  while (filled < into.length) {
    if (at === packed.length) {
      throw damaged(packed, `it ends after ${filled} of ${into.length} bytes`);
    }
    const frame = readZstdFrame(packed, at);
    const room = into.length - filled;
    if ((frame.contentSize ?? 0) > room) {
      throw damaged(packed, `it has more than ${into.length} bytes`);
    }
    if (frame.windowSize > largestWindow) {
      throw damaged(packed, `its window of ${frame.windowSize} bytes is larger than 128 MiB`);
    }
    if (frame.dictionaryId !== 0) {
      throw damaged(packed, `it needs dictionary ${frame.dictionaryId}, and qcow2 has none`);
    }
    if (!frame.empty) {
      const data = decodeOr(packed, () => decode(packed.subarray(at, at + frame.length), room));
      if (data.length === 0 || data.length > room) {
        throw damaged(packed, `it is damaged, or has more than the ${room} bytes that are missing`);
      }
      into.set(data, filled);
      filled += data.length;
    }
    at += frame.length;
  }
}

function decodeOr(packed: Uint8Array, decode: () => Uint8Array): Uint8Array {
  try {
    return decode();
  } catch (cause) {
    throw damaged(packed, "the decoder failed", cause);
  }
}

function damaged(packed: Uint8Array, what: string, cause?: unknown): PlatterError {
  return new PlatterError(
    "E_CODEC",
    `A zstd stream in ${packed.length} bytes cannot be decompressed: ${what}.`,
    { cause },
  );
}
