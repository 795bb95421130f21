/**
 * Whether every byte is zero. Looks at the ends and the middle first, because real data seldom has
 * zeros in all three places, then at four bytes a step, stopping at the first that is not zero.
 */
export function isZero(bytes: Uint8Array): boolean {
  const length = bytes.length;
  if (length === 0) return true;
  if (bytes[0] !== 0 || bytes[length - 1] !== 0 || bytes[length >>> 1] !== 0) return false;
  // A typed array of wider elements must start at a multiple of their size in its buffer.
  const head = Math.min(length, -bytes.byteOffset & 3);
  const count = (length - head) >>> 2;
  const tail = head + count * 4;
  for (let i = 0; i < head; i++) if (bytes[i] !== 0) return false;
  for (let i = tail; i < length; i++) if (bytes[i] !== 0) return false;
  // Without a whole word, `head` may not have reached such a place.
  if (count === 0) return true;
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + head, count);
  for (let i = 0; i < count; i++) if (words[i] !== 0) return false;
  return true;
}
