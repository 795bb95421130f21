import type { Codec } from "../codec/index.ts";
import { deflateWasm } from "./deflate-wasm.ts";

/** What tools/deflate/deflate.c exports. */
interface Exports {
  readonly memory: WebAssembly.Memory;
  /** Called once. */
  init(): void;
  /** Where in the memory a cluster goes, and where it is packed. */
  inputAt(): number;
  outputAt(): number;
  /** Packs `length` bytes into at most `room`; returns how many these are, 0 if they would be more. */
  pack(length: number, room: number): number;
}

/** Clusters of qcow2 are not larger. */
const largest = 2 * 1024 * 1024;

/** One for each thread: undefined until it is needed, null where there is none. */
let encoder: ((data: Uint8Array, into: Uint8Array) => number | undefined) | null | undefined;

function makeEncoder(): typeof encoder {
  let exports: Exports;
  try {
    const module = new WebAssembly.Module(Buffer.from(deflateWasm, "base64"));
    exports = new WebAssembly.Instance(module).exports as unknown as Exports;
  } catch {
    return null;
  }
  exports.init();
  const input = new Uint8Array(exports.memory.buffer, exports.inputAt(), largest);
  const output = new Uint8Array(exports.memory.buffer, exports.outputAt(), largest);
  return (data, into) => {
    input.set(data);
    const length = exports.pack(data.length, Math.min(into.length, largest));
    if (length === 0) return undefined;
    into.set(output.subarray(0, length));
    return length;
  };
}

/**
 * The codec, with an encoder of our own in the place of zlib's where no level was asked for. It packs what is on disks
 * as tightly as zlib at its default level and takes two thirds of the time that the fastest zlib takes.
 */
export const withOwnDeflate = (codec: Codec): Codec => ({
  ...codec,
  compress(data, into, level) {
    if (level !== undefined || data.length > largest) return codec.compress?.(data, into, level);
    // Takes 5 ms: not before it is needed.
    if (encoder === undefined) encoder = makeEncoder();
    return typeof encoder === "function" ? encoder(data, into) : codec.compress?.(data, into);
  },
});
