import { PlatterError } from "../errors.ts";

/** What the header and the block headers of one zstd frame say (RFC 8878, section 3.1). */
export interface ZstdFrame {
  /** Bytes from the magic number to the end of the last block or checksum. */
  readonly length: number;
  /** A frame of user data that decoders skip (section 3.1.2). The members below are 0 then. */
  readonly skippable: boolean;
  /**
   * Bytes that the frame says it decompresses to; undefined when it does not say. Rounded above
   * 2^53.
   */
  readonly contentSize: number | undefined;
  /** Bytes of earlier output that a streaming decoder has to keep. Rounded above 2^53. */
  readonly windowSize: number;
  /** The dictionary that is needed; 0 for none. */
  readonly dictionaryId: number;
  /** Whether every block is one that cannot produce anything: stored, of length 0. */
  readonly empty: boolean;
}

const magic = 0xfd2fb528;

/** Sixteen magic numbers that differ in the lowest four bits (section 3.1.2). */
const skippableMagic = 0x184d2a50;

/** No block is larger than this, packed or not (section 3.1.1.2.4). */
const maximumBlockSize = 128 * 1024;

const blockType = { raw: 0, rle: 1, compressed: 2, reserved: 3 } as const;

/**
 * Walks the frame that starts at `start` in `bytes`, header by header, without decoding any block.
 *
 * Decoders want exactly one frame, while a compressed cluster is padded up to a sector; and they
 * believe what a frame claims of its sizes. This function finds the end and the claims first. It
 * reads at least three bytes a step and allocates nothing.
 *
 * @throws PlatterError `E_CODEC` when no frame starts there, when it reaches past the end of `bytes`,
 *   or when a header field has a value that RFC 8878 reserves or forbids.
 */
export function readZstdFrame(bytes: Uint8Array, start = 0): ZstdFrame {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found = view.getUint32(need(bytes, start, 4), true);
  if ((found & ~0xf) >>> 0 === skippableMagic) {
    const size = view.getUint32(need(bytes, start + 4, 4), true);
    need(bytes, start + 8, size);
    return {
      length: 8 + size,
      skippable: true,
      contentSize: 0,
      windowSize: 0,
      dictionaryId: 0,
      empty: true,
    };
  }
  if (found !== magic) {
    throw new PlatterError(
      "E_CODEC",
      `No zstd frame starts at byte ${start} of the packed data: its magic number is ` +
        `0x${found.toString(16).padStart(8, "0")} instead of 0x${magic.toString(16)}.`,
      { field: "Magic_Number", value: found },
    );
  }

  let at = start + 4;
  const descriptor = view.getUint8(need(bytes, at++, 1));
  const singleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x08) !== 0) throw malformed("Frame_Header_Descriptor", descriptor);

  let windowSize = 0;
  if (!singleSegment) {
    const window = view.getUint8(need(bytes, at++, 1));
    const base = 2 ** (10 + (window >>> 3));
    windowSize = base + (base / 8) * (window & 7);
  }

  const idLength = [0, 1, 2, 4][descriptor & 3]!;
  const dictionaryId = readLittleEndian(view, need(bytes, at, idLength), idLength);
  at += idLength;

  const sizeLength = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >>> 6]!;
  let contentSize: number | undefined;
  if (sizeLength > 0) {
    contentSize = readLittleEndian(view, need(bytes, at, sizeLength), sizeLength);
    // Two bytes start where one byte ends.
    if (sizeLength === 2) contentSize += 256;
  }
  at += sizeLength;
  if (singleSegment) windowSize = contentSize!;

  const blocks = walkBlocks(bytes, view, at, Math.min(windowSize, maximumBlockSize));
  at = blocks.end;
  if ((descriptor & 0x04) !== 0) at = need(bytes, at, 4) + 4;
  return {
    length: at - start,
    skippable: false,
    contentSize,
    windowSize,
    dictionaryId,
    empty: blocks.empty,
  };
}

/** Follows the block headers (section 3.1.1.2) from `at` to the end of the last block. */
function walkBlocks(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  largest: number,
): { readonly end: number; readonly empty: boolean } {
  let empty = true;
  for (;;) {
    need(bytes, at, 3);
    const header = view.getUint8(at) | (view.getUint8(at + 1) << 8) | (view.getUint8(at + 2) << 16);
    const type = (header >>> 1) & 3;
    const size = header >>> 3;
    if (type === blockType.reserved) throw malformed("Block_Type", type);
    if (size > largest) throw malformed("Block_Size", size);
    if (type === blockType.compressed || size > 0) empty = false;
    const stored = type === blockType.rle ? 1 : size;
    at = need(bytes, at + 3, stored) + stored;
    if ((header & 1) !== 0) return { end: at, empty };
  }
}

/** Throws unless `length` bytes follow `at`; returns `at`. */
function need(bytes: Uint8Array, at: number, length: number): number {
  if (length <= bytes.length - at) return at;
  throw new PlatterError(
    "E_CODEC",
    `A zstd frame is cut off: it needs ${length} bytes at byte ${at} of the packed data, ` +
      `which has ${bytes.length}.`,
  );
}

function readLittleEndian(view: DataView, at: number, length: number): number {
  let value = 0;
  for (let i = length - 1; i >= 0; i--) value = value * 256 + view.getUint8(at + i);
  return value;
}

function malformed(field: string, value: number): PlatterError {
  return new PlatterError(
    "E_CODEC",
    `A zstd frame has ${field} ${value}, which RFC 8878 does not allow: it is damaged.`,
    { field, value },
  );
}
