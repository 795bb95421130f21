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
