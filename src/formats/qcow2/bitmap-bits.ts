import { divideUp } from "../../bytes/index.ts";
import type { DirtyRange } from "../../disk/index.ts";

/** Index of the first bit at or after `from` that is `value`, or `end`. */
function find(bytes: Uint8Array, value: boolean, from: number, end: number): number {
  const skip = value ? 0 : 0xff;
  let bit = from;
  while (bit < end) {
    const byte = bytes[bit >>> 3]!;
    if (byte === skip) {
      bit = (bit | 7) + 1;
      continue;
    }
    if ((((byte >>> (bit & 7)) & 1) === 1) === value) return bit;
    bit++;
  }
  return end;
}

/**
 * The bits of a bitmap in memory, in pieces of one cluster as they are stored: the lowest bit of the
 * first byte stands for the start of the disk. Pieces without a set bit take no memory, and those
 * that are full share theirs.
 */
export class BitmapBits {
  /** log2 of the granularity in bytes. */
  readonly granularityBits: number;
  private readonly granularity: number;
  private readonly bitsPerPiece: number;
  private readonly full: Uint8Array;
  private pieces = new Map<number, Uint8Array>();
  private disk: number;

  /** No bit is set. `size`: bytes of the disk. */
  constructor(size: number, granularityBits: number, clusterSize: number) {
    this.disk = size;
    this.granularityBits = granularityBits;
    this.granularity = 2 ** granularityBits;
    this.bitsPerPiece = clusterSize * 8;
    this.full = new Uint8Array(clusterSize).fill(0xff);
  }

  /** Bytes of the disk. */
  get size(): number {
    return this.disk;
  }

  /** Pieces that the bits of the whole disk take. */
  get pieceCount(): number {
    return divideUp(this.bitCount, this.bitsPerPiece);
  }

  private get bitCount(): number {
    return divideUp(this.disk, this.granularity);
  }

  /** Sets the bits of the guest bytes [start, end), as far as there are such. */
  set(start: number, end: number): void {
    const stop = Math.min(divideUp(end, this.granularity), this.bitCount);
    for (let bit = Math.floor(start / this.granularity); bit < stop;) {
      const index = Math.floor(bit / this.bitsPerPiece);
      const base = index * this.bitsPerPiece;
      const last = Math.min(stop, base + this.bitsPerPiece);
      this.setInPiece(index, bit - base, last - base);
      bit = last;
    }
  }

  private setInPiece(index: number, from: number, to: number): void {
    let piece = this.pieces.get(index);
    if (piece === this.full) return;
    if (from === 0 && to === this.bitsPerPiece) {
      this.pieces.set(index, this.full);
      return;
    }
    if (piece === undefined) {
      piece = new Uint8Array(this.full.length);
      this.pieces.set(index, piece);
    }
    const first = from >>> 3;
    const last = to >>> 3;
    const head = (0xff << (from & 7)) & 0xff;
    const tail = 0xff >>> (8 - (to & 7));
    if (first === last) {
      piece[first]! |= head & tail;
      return;
    }
    piece[first]! |= head;
    piece.fill(0xff, first + 1, last);
    if (tail !== 0) piece[last]! |= tail;
  }

  /** Clears all bits. */
  clear(): void {
    this.pieces = new Map();
  }

  /** The disk has another size now. What it gains is clean. */
  resize(size: number): void {
    this.disk = size;
    const { bitCount, bitsPerPiece } = this;
    for (const index of this.pieces.keys()) {
      if (index >= this.pieceCount) this.pieces.delete(index);
    }
    const index = this.pieceCount - 1;
    const piece = this.pieces.get(index);
    if (piece !== undefined) this.pieces.set(index, masked(piece, bitCount - index * bitsPerPiece));
  }

  /** Takes over a stored piece, all bits of which are set where `bytes` is "ones". */
  load(index: number, bytes: Uint8Array | "ones"): void {
    const inside = Math.min(this.bitCount - index * this.bitsPerPiece, this.bitsPerPiece);
    if (bytes === "ones") this.setInPiece(index, 0, inside);
    else this.pieces.set(index, masked(bytes, inside));
  }

  /** The pieces with a set bit, in ascending order. */
  stored(): Array<readonly [index: number, bytes: Uint8Array]> {
    return [...this.pieces]
      .filter(
        ([, bytes]) =>
          bytes === this.full || find(bytes, true, 0, this.bitsPerPiece) < this.bitsPerPiece,
      )
      .toSorted(([a], [b]) => a - b);
  }

  /** Ranges of set bits, in ascending order. */
  *ranges(): Generator<DirtyRange> {
    let open: { start: number; end: number } | undefined;
    const { bitsPerPiece, granularity } = this;
    for (const [index, bytes] of [...this.pieces].toSorted(([a], [b]) => a - b)) {
      const base = index * bitsPerPiece;
      for (let bit = find(bytes, true, 0, bitsPerPiece); bit < bitsPerPiece;) {
        const stop = find(bytes, false, bit, bitsPerPiece);
        const start = (base + bit) * granularity;
        const end = Math.min((base + stop) * granularity, this.disk);
        if (open?.end === start) open.end = end;
        else {
          if (open !== undefined) yield open;
          open = { start, end };
        }
        bit = find(bytes, true, stop, bitsPerPiece);
      }
    }
    if (open !== undefined) yield open;
  }
}

/** A copy of `bytes` with only the first `bits` bits of it. */
function masked(bytes: Uint8Array, bits: number): Uint8Array {
  if (bits >= bytes.length * 8) return bytes;
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes.subarray(0, divideUp(bits, 8)));
  if ((bits & 7) !== 0) copy[bits >>> 3]! &= 0xff >>> (8 - (bits & 7));
  return copy;
}
