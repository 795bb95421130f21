/**
 * A whole number as C's strtoul reads it with base 0: octal after 0, hexadecimal after 0x, blanks and
 * a plus sign in front. Undefined for anything else, negative numbers too.
 */
export function readCNumber(text: string): number | undefined {
  const digits = /^\s*\+?(0x[0-9a-f]+|[0-9]+)$/i.exec(text)?.[1] ?? "";
  if (digits === "" || /^0[0-7]*[89]/.test(digits)) return undefined;
  return /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
}

/** The largest number that C's int holds; qemu-img's limit for block sizes and counts. */
export const MAX_INT = 2 ** 31 - 1;

/** A number with two decimals as C writes it: what lies in the middle goes to the even neighbour. */
export function twoDecimals(value: number): string {
  // Only multiples of 1/8 lie in the middle between two hundredths.
  if (!Number.isInteger(value * 8)) return value.toFixed(2);
  const hundredths = value * 100;
  const below = Math.floor(hundredths);
  const even = hundredths - below === 0.5 ? below + (below % 2) : hundredths;
  return (even / 100).toFixed(2);
}
