import { decompressZstdFrames, type Codec } from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import { requireKoffi, type ForeignInterface } from "./foreign.ts";
import { defaultZstdLevel } from "./levels.ts";

/**
 * The zlib and zstd that Node is built with, called without `node:zlib`: for each cluster that makes a
 * stream object and an output buffer, which for clusters of 64 KiB takes as long as the decompression
 * itself. Here both are made once. The streams that come out are the same, byte for byte.
 */
export interface DirectCodecs {
  readonly zlib?: Codec | undefined;
  readonly zstd?: Codec | undefined;
}

/** What zlib.h calls them. */
const Flush = { finish: 4 } as const;
const Status = { ok: 0, streamEnd: 1, streamError: -2, bufferError: -5 } as const;
const deflated = 8;
const defaultStrategy = 0;
const defaultLevel = -1;

/** As QEMU writes: raw deflate, a window of 4 KiB, the most memory for matching. */
const write = { windowBits: -12, memoryLevel: 9 } as const;

/** Other writers use windows up to 32 KiB. */
const readWindowBits = -15;

/**
 * A `z_stream` (zlib.h) on a system whose `long` has 64 bits. zlib's state points back to it, so it
 * stays where it is.
 */
class Stream {
  /** As large as zlib expects it; more than 64 bytes, so that V8 never moves it. */
  static readonly size = 112;
  readonly struct = new Uint8Array(Stream.size);
  private readonly view = new DataView(this.struct.buffer);
  private readonly koffi: ForeignInterface;

  constructor(koffi: ForeignInterface) {
    this.koffi = koffi;
  }

  /** Has the next call read `from` and write `into`. Both have to be kept until it is done. */
  lend(from: Uint8Array, into: Uint8Array): void {
    this.view.setBigUint64(0, this.koffi.address(from), true);
    this.view.setUint32(8, from.length, true);
    this.view.setBigUint64(24, this.koffi.address(into), true);
    this.view.setUint32(32, into.length, true);
  }

  /** Bytes of the output buffer that are still free. */
  get availableOut(): number {
    return this.view.getUint32(32, true);
  }
}

const damaged = (what: string): PlatterError =>
  new PlatterError("E_CODEC", `Compressed data (zlib) cannot be decoded: ${what}.`, {
    value: "zlib",
  });

function bindZlib(koffi: ForeignInterface): Codec {
  const library = koffi.load(null);
  const version = library.func("const char *zlibVersion()")();
  const inflateInit = library.func("int inflateInit2_(void *, int, const char *, int)");
  const inflateReset = library.func("int inflateReset(void *)");
  const inflate = library.func("int inflate(void *, int)");
  const deflateInit = library.func(
    "int deflateInit2_(void *, int, int, int, int, int, const char *, int)",
  );
  const deflateReset = library.func("int deflateReset(void *)");
  const deflate = library.func("int deflate(void *, int)");

  const reader = new Stream(koffi);
  if (inflateInit(reader.struct, readWindowBits, version, Stream.size) !== Status.ok) {
    throw new Error("zlib does not take this z_stream");
  }
  const writers = new Map<number, Stream>();
  const writerFor = (level: number): Stream => {
    const known = writers.get(level);
    if (known !== undefined) return known;
    const stream = new Stream(koffi);
    const { windowBits, memoryLevel } = write;
    const status = deflateInit(
      stream.struct,
      level,
      deflated,
      windowBits,
      memoryLevel,
      defaultStrategy,
      version,
      Stream.size,
    );
    if (status !== Status.ok) {
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `Compression level ${level} is not known to zlib: use a whole number from 0 to 9.`,
        { field: "level", value: level },
      );
    }
    writers.set(level, stream);
    return stream;
  };
  let scratch = new Uint8Array(0);
  return {
    type: "zlib",
    decompress(packed, into) {
      if (packed.length === 0) throw damaged("there is none");
      inflateReset(reader.struct);
      reader.lend(packed, into);
      const status = inflate(reader.struct, Flush.finish);
      const left = reader.availableOut;
      // The cluster is full: whether the stream says that this is its end does not matter.
      const ended = status === Status.streamEnd || status === Status.bufferError;
      if (left === 0 && (ended || status === Status.ok)) return;
      if (!ended) throw damaged("the stream is damaged");
      throw damaged(`it has ${into.length - left} bytes where ${into.length} are expected`);
    },
    compress(data, into, level = defaultLevel) {
      const stream = writerFor(level);
      // Deflate reports the end only with room to spare.
      const room = Math.min(into.length + 1, data.length + (data.length >>> 3) + 64);
      if (scratch.length < room) scratch = new Uint8Array(room);
      deflateReset(stream.struct);
      stream.lend(data, scratch.subarray(0, room));
      if (deflate(stream.struct, Flush.finish) !== Status.streamEnd) return undefined;
      const length = room - stream.availableOut;
      into.set(scratch.subarray(0, length));
      return length;
    },
  };
}

/** The error codes of zstd are lengths next to 2^64. */
const isLength = (result: unknown): result is number => typeof result === "number";

function bindZstd(koffi: ForeignInterface): Codec {
  const library = koffi.load(null);
  const decompress = library.func(
    "size_t ZSTD_decompressDCtx(void *, void *, size_t, void *, size_t)",
  );
  const compress = library.func(
    "size_t ZSTD_compressCCtx(void *, void *, size_t, void *, size_t, int)",
  );
  const bound = library.func("size_t ZSTD_compressBound(size_t)");
  const reader = library.func("void *ZSTD_createDCtx()")();
  const writer = library.func("void *ZSTD_createCCtx()")();
  if (reader === null || writer === null) throw new Error("zstd has no memory");
  let scratch = new Uint8Array(0);
  return {
    type: "zstd",
    decompress(packed, into) {
      let filled = 0;
      decompressZstdFrames(packed, into, (frame, room) => {
        const start = filled;
        const target = into.subarray(start, start + room);
        const length = decompress(reader, target, target.length, frame, frame.length);
        filled += isLength(length) ? length : 0;
        return into.subarray(start, filled);
      });
    },
    compress(data, into, level = defaultZstdLevel) {
      // With less room than this, zstd can give up on what would have fitted.
      const room = Number(bound(data.length));
      if (scratch.length < room) scratch = new Uint8Array(room);
      const length = compress(writer, scratch, room, data, data.length, level);
      if (!isLength(length) || length > into.length) return undefined;
      into.set(scratch.subarray(0, length));
      return length;
    },
  };
}

/** Whether `codec` gives back what it packed: that the functions are there does not say what they are. */
function works(codec: Codec): boolean {
  const data = new Uint8Array(512).map((_, i) => i >>> 3);
  const packed = new Uint8Array(data.length);
  const length = codec.compress?.(data, packed);
  if (length === undefined) return false;
  const back = new Uint8Array(data.length);
  codec.decompress(packed.subarray(0, length), back);
  return back.every((byte, i) => byte === data[i]);
}

function attempt(bind: () => Codec): Codec | undefined {
  try {
    const codec = bind();
    return works(codec) ? codec : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Looks for the codecs in the running program. Never throws: what is not there, or is not what it
 * should be, is absent.
 *
 * @param load brings the foreign function interface; replaced in tests
 */
export function findDirectCodecs(load: () => ForeignInterface = requireKoffi): DirectCodecs {
  // On Windows, z_stream is laid out differently.
  const isKnown = process.platform === "linux" || process.platform === "darwin";
  if (!isKnown || (process.arch !== "x64" && process.arch !== "arm64")) return {};
  if (process.env["PLATTER_LIBC"] === "none") return {};
  let koffi: ForeignInterface;
  try {
    koffi = load();
  } catch {
    return {};
  }
  return { zlib: attempt(() => bindZlib(koffi)), zstd: attempt(() => bindZstd(koffi)) };
}
