/** Words that are looked at in one step. */
const stride = 8;

/**
 * Whether the bytes [start, end) are all zero. Looks at the ends and the middle first, because real data
 * seldom has zeros in all three places, then at eight words a step, stopping at the first that are not zero.
 */
export function isZero(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
  const length = end - start;
  if (length <= 0) return true;
  const middle = start + (length >>> 1);
  if (bytes[start] !== 0 || bytes[end - 1] !== 0 || bytes[middle] !== 0) return false;
  // A typed array of wider elements must start at a multiple of their size in its buffer.
  const from = bytes.byteOffset + start;
  const head = Math.min(length, -from & 3);
  const count = (length - head) >>> 2;
  for (let i = start; i < start + head; i++) if (bytes[i] !== 0) return false;
  for (let i = start + head + count * 4; i < end; i++) if (bytes[i] !== 0) return false;
  // Without a whole word, `head` may not have reached such a place.
  return count === 0 || wordsAreZero(new Int32Array(bytes.buffer, from + head, count));
}

function wordsAreZero(words: Int32Array): boolean {
  const rest = words.length % stride;
  const whole = words.length - rest;
  for (let i = 0; i < whole; i += stride) {
    const first = words[i]! | words[i + 1]! | words[i + 2]! | words[i + 3]!;
    const second = words[i + 4]! | words[i + 5]! | words[i + 6]! | words[i + 7]!;
    if ((first | second) !== 0) return false;
  }
  for (let i = whole; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}
