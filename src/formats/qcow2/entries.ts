/**
 * L1, L2 and refcount table entries (specification, "Cluster mapping" and "Host cluster
 * management"). Entries are 64 bits wide and decoded as two 32-bit halves, because this is the
 * hottest path of the driver and bigints would allocate.
 */

import { host, type HostOffset } from "../../bytes/index.ts";

const high = 2 ** 32;

/** Bit 63 of an entry, in its upper half: the refcount is exactly one, so it may be changed in place. */
export const copiedBit = 0x8000_0000;
/** Bit 62 of an L2 entry, in its upper half: a compressed cluster. */
export const compressedBit = 0x4000_0000;
/** Bit 0 of an L2 entry, in its lower half: the cluster reads as zeros. */
export const zeroBit = 1;

/** Bits 56–61 of a standard L2 entry in its upper half, which must be zero. */
export const reservedHigh = 0x3f00_0000;
/** Bits 1–8 of a standard L2 entry in its lower half, which must be zero. */
export const reservedLow = 0x1fe;

/** Bits 9–55, the host offset of an L1 or a standard L2 entry, from its halves. */
export const hostOffset = (upper: number, lower: number): HostOffset =>
  host((upper & 0x00ff_ffff) * high + ((lower & 0xffff_fe00) >>> 0));

/** The upper half of an entry for `offset`, without flags. */
export const upperHalf = (offset: HostOffset): number => Math.floor(offset / high);

/** The lower half of an entry for `offset`, without flags. */
export const lowerHalf = (offset: HostOffset): number => (offset % high) >>> 0;

/** An entry as one number, for messages. */
export const entry64 = (upper: number, lower: number): bigint =>
  (BigInt(upper) << 32n) | BigInt(lower);

/** Where a compressed cluster lies. */
export interface CompressedDescriptor {
  /** First packed byte; not aligned to anything. */
  readonly offset: HostOffset;
  /** Bytes up to the end of the last 512-byte sector used. */
  readonly length: number;
}

/** Number of low bits of a compressed descriptor that hold the host offset (x in the specification). */
export const compressedOffsetBits = (clusterBits: number): number => 62 - (clusterBits - 8);

/** Decodes a compressed cluster descriptor. Exact: an offset of 2^53 or more is cut to Infinity. */
export function decodeCompressed(
  upper: number,
  lower: number,
  clusterBits: number,
): CompressedDescriptor {
  // At least 49 bits are for the offset, so the split is always in the upper half.
  const upperBits = compressedOffsetBits(clusterBits) - 32;
  const fields = upper & 0x3fff_ffff;
  const offset = (fields & (2 ** upperBits - 1)) * high + lower;
  const sectors = (fields >>> upperBits) + 1;
  return {
    offset: host(offset > Number.MAX_SAFE_INTEGER ? Infinity : offset),
    length: sectors * 512 - (lower & 511),
  };
}

/** The halves of a compressed cluster descriptor for `length` bytes at `offset`. */
export function encodeCompressed(
  offset: HostOffset,
  length: number,
  clusterBits: number,
): readonly [upper: number, lower: number] {
  const upperBits = compressedOffsetBits(clusterBits) - 32;
  const additional = Math.floor((offset + length - 1) / 512) - Math.floor(offset / 512);
  const upper = compressedBit + additional * 2 ** upperBits + upperHalf(offset);
  return [upper >>> 0, lowerHalf(offset)];
}
