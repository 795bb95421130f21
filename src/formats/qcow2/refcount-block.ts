/**
 * Refcount block entries (specification, "Refcount block entry"). Widths below a byte are packed
 * from the least significant bit on.
 */

const high = 2 ** 32;

/** The refcount number `index` of a block whose refcounts are `2 ** order` bits wide. */
export function getRefcount(view: DataView, index: number, order: number): number {
  switch (order) {
    case 0:
      return (view.getUint8(index >>> 3) >>> (index & 7)) & 1;
    case 1:
      return (view.getUint8(index >>> 2) >>> ((index & 3) * 2)) & 3;
    case 2:
      return (view.getUint8(index >>> 1) >>> ((index & 1) * 4)) & 15;
    case 3:
      return view.getUint8(index);
    case 4:
      return view.getUint16(index * 2);
    case 5:
      return view.getUint32(index * 4);
    default:
      return view.getUint32(index * 8) * high + view.getUint32(index * 8 + 4);
  }
}

/** Whether each of `length` refcounts from number `index` on is exactly one, or, unless `single`, none is. */
export function areSingle(
  view: DataView,
  index: number,
  length: number,
  order: number,
  single: boolean,
): boolean {
  const end = index + length;
  // The usual width, without choosing anew for each of millions.
  if (order === 4) {
    for (let i = index; i < end; i++) if ((view.getUint16(i * 2) === 1) !== single) return false;
    return true;
  }
  for (let i = index; i < end; i++) {
    if ((getRefcount(view, i, order) === 1) !== single) return false;
  }
  return true;
}

/** Stores `count`, which must fit the width, as refcount number `index`. */
export function setRefcount(view: DataView, index: number, order: number, count: number): void {
  switch (order) {
    case 0:
      return setBits(view, index >>> 3, index & 7, 1, count);
    case 1:
      return setBits(view, index >>> 2, (index & 3) * 2, 3, count);
    case 2:
      return setBits(view, index >>> 1, (index & 1) * 4, 15, count);
    case 3:
      return view.setUint8(index, count);
    case 4:
      return view.setUint16(index * 2, count);
    case 5:
      return view.setUint32(index * 4, count);
    default:
      view.setUint32(index * 8, Math.floor(count / high));
      return view.setUint32(index * 8 + 4, count % high);
  }
}

function setBits(view: DataView, at: number, shift: number, mask: number, value: number): void {
  view.setUint8(at, (view.getUint8(at) & ~(mask << shift)) | (value << shift));
}
