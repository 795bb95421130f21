import { PlatterError } from "../errors.ts";
import type { Codec, Codecs, CompressionType } from "./codec.ts";
import { portableZlib } from "./zlib.ts";
import { loadPortableZstd } from "./zstd.ts";

let zstd: Promise<Codec> | undefined;

/**
 * Codecs that need nothing but JavaScript and WebAssembly, for browsers. zlib reads and writes; zstd
 * only reads, and its decoder is loaded when an image first needs it.
 */
export const portableCodecs: Codecs = {
  async load(type: CompressionType): Promise<Codec> {
    switch (type) {
      case "zlib":
        return portableZlib;
      case "zstd":
        try {
          return await (zstd ??= loadPortableZstd());
        } catch (error) {
          // A failed download may work the next time.
          zstd = undefined;
          throw error;
        }
      default:
        throw new PlatterError(
          "E_CODEC",
          `There is no codec for compression type ${JSON.stringify(type)}: zlib and zstd are known.`,
          { field: "compression_type", value: String(type) },
        );
    }
  },
};
