/**
 * Guest and host offsets are both byte counts, and mixing them up is the classic mistake of an
 * image format driver. They are distinct types, so that the compiler finds it.
 *
 * Host offsets are exact integers up to 2^53 − 1. Guest offsets are too; beyond that only multiples
 * of 512 occur, which doubles hold exactly up to 2^62.
 */

declare const space: unique symbol;

/** Byte offset on the disk that the guest sees. */
export type GuestOffset = number & { readonly [space]: "guest" };

/** Byte offset in a storage (an image file). */
export type HostOffset = number & { readonly [space]: "host" };

/** Marks a number as a guest offset. */
export const guest = (offset: number): GuestOffset => offset as GuestOffset;

/** Marks a number as a host offset. */
export const host = (offset: number): HostOffset => offset as HostOffset;

/** `value` rounded down to a multiple of `unit`; exact for every size this program handles. */
export const alignDown = <Offset extends number>(value: Offset, unit: number): Offset =>
  (value - (value % unit)) as Offset;

/** `value` rounded up to a multiple of `unit`. */
export const alignUp = <Offset extends number>(value: Offset, unit: number): Offset => {
  const rest = value % unit;
  return rest === 0 ? value : ((value - rest + unit) as Offset);
};

/** `offset` moved on by `bytes`, in the same space. */
export const advance = <Offset extends number>(offset: Offset, bytes: number): Offset =>
  (offset + bytes) as Offset;

/** The lower of two offsets in the same space. */
export const lower = <Offset extends number>(a: Offset, b: Offset): Offset => (a < b ? a : b);

/** The number of `unit`s that cover `value`. */
export const divideUp = (value: number, unit: number): number => alignUp(value, unit) / unit;
