import { PlatterError } from "../errors.ts";

/** The largest size that QEMU's tools accept: 2^63 − 1 bytes. */
const MAX_SIZE = 2n ** 63n - 1n;
const WORD = 2n ** 64n;
const SUFFIXES = "BKMGTPE";

/** What became of a text that should be a size. */
export type SizeReading =
  | {
      readonly kind: "size";
      /** Bytes, 0 … 2^64 − 1. */
      readonly value: bigint;
      /** The number was hexadecimal and had a suffix, which QEMU accepts with a warning. */
      readonly hexSuffix: boolean;
    }
  /** Not a size at all. */
  | { readonly kind: "invalid"; readonly hexSuffix: boolean }
  /** A size of 2^64 bytes or more. */
  | { readonly kind: "range"; readonly hexSuffix: boolean };

/**
 * Reads a size by the rules of QEMU 7.2: a decimal number, with a fraction where a suffix scales
 * it, or a hexadecimal one; then one of `b k M G T P E` in either case, powers of 1024. Blanks and
 * a plus sign may stand in front. No exponents, no negative numbers. Never throws.
 */
export function readSize(text: string): SizeReading {
  const head = /^[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|([0-9]+))/.exec(text);
  if (head === null) return { kind: "invalid", hexSuffix: false };
  const isHex = head[2] !== undefined;
  const whole = BigInt(isHex ? `0x${head[2]}` : (head[3] ?? "0"));
  let rest = text.slice(head[0].length);
  // A number that overflows ends the reading, before its sign is looked at: whatever follows makes
  // the text invalid.
  if (whole >= WORD) return { kind: rest === "" ? "range" : "invalid", hexSuffix: false };
  if (head[1] === "-") return { kind: "invalid", hexSuffix: false };

  let fraction = 0n;
  if (rest.startsWith(".")) {
    if (isHex) return { kind: "invalid", hexSuffix: false };
    const digits = /^\.([0-9]+)([eE][+-]?[0-9]+)?/.exec(rest);
    if (digits?.[2] !== undefined) return { kind: "invalid", hexSuffix: false };
    rest = rest.slice(digits === null ? 1 : digits[0].length);
    if (digits !== null) fraction = fixedPoint(Number(`0.${digits[1]}`));
  }

  const power = rest === "" ? -1 : SUFFIXES.indexOf(rest.charAt(0).toUpperCase());
  const hexSuffix = isHex && power >= 0;
  const scale = power > 0 ? 1n << BigInt(power * 10) : 1n;
  const after = power >= 0 ? rest.slice(1) : rest;
  if (after !== "" || (scale === 1n && fraction !== 0n)) return { kind: "invalid", hexSuffix };
  // Half a byte rounds up.
  const value = whole * scale + (fraction * scale + WORD / 2n) / WORD;
  return value >= WORD ? { kind: "range", hexSuffix } : { kind: "size", value, hexSuffix };
}

/**
 * A fraction as a 64-bit fixed-point number. One that is so near 1 that a double holds it as 1
 * becomes 0: that is what QEMU on x86-64 makes of it.
 */
function fixedPoint(fraction: number): bigint {
  return fraction >= 1 ? 0n : BigInt(Math.trunc(fraction * 2 ** 64));
}

/** How {@link parseSize} names and limits what it reads. */
export interface SizeLimits {
  /** What the size is, in the middle of a sentence; default "image size". */
  readonly what?: string;
  /** Smallest value in bytes; default 0. */
  readonly minimum?: number;
  /** Largest value in bytes; default 2^63 − 1. */
  readonly maximum?: number;
  /**
   * Round what a number cannot hold exactly up to a multiple of this many bytes. For sizes that
   * are rounded to sectors anyway.
   */
  readonly roundTo?: number;
  /** Gets the sentence about a deprecated way of writing the size. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

/**
 * Reads a size as {@link readSize} does and checks it. Returns bytes: exact up to 2^53 − 1, above
 * that a value that a double holds exactly.
 *
 * @throws `E_INVALID_SIZE` with QEMU's words for text that is no size or outside the limits, and
 * for a size that a number cannot hold.
 */
export function parseSize(text: string, limits: SizeLimits = {}): number {
  const { what = "image size", minimum = 0, maximum, roundTo } = limits;
  const top = maximum === undefined ? MAX_SIZE : BigInt(maximum);
  const reading = readSize(text);
  if (reading.hexSuffix) {
    limits.onWarning?.(`Using a multiplier suffix on hex numbers is deprecated: ${text}`);
  }
  if (reading.kind === "invalid") {
    throw new PlatterError(
      "E_INVALID_SIZE",
      `"${text}" is not a valid ${what}: give a number with, if you like, one of the suffixes k, M, G, T, P, E (powers of 1024), as in 10G.`,
      {
        field: what,
        value: text,
        qemu:
          `Invalid ${what} specified. You may use k, M, G, T, P or E suffixes for\n` +
          "qemu-img: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.",
      },
    );
  }
  if (reading.kind === "range" || reading.value > top || reading.value < BigInt(minimum)) {
    throw new PlatterError(
      "E_INVALID_SIZE",
      `The ${what} ${text} is out of range: it must be between ${minimum} and ${top} bytes.`,
      {
        field: what,
        value: text,
        qemu: `Invalid ${what} specified. Must be between ${minimum} and ${top}.`,
      },
    );
  }
  return toNumber(reading.value, text, what, roundTo);
}

function toNumber(value: bigint, text: string, what: string, roundTo: number | undefined): number {
  if (BigInt(Number(value)) === value) return Number(value);
  if (roundTo !== undefined) {
    const unit = BigInt(roundTo);
    const rounded = ((value + unit - 1n) / unit) * unit;
    if (BigInt(Number(rounded)) === rounded && rounded <= MAX_SIZE) return Number(rounded);
  }
  throw new PlatterError(
    "E_INVALID_SIZE",
    `The ${what} ${text} cannot be handled exactly: from 2^53 on it has to be a multiple of 512 bytes, from 2^62 on of 1024 bytes, below 2^63.`,
    { field: what, value: text },
  );
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/**
 * A number of bytes for people, as QEMU prints it: three significant digits and a binary unit, as
 * in "196 KiB", "1.5 GiB" or "0 B". The next unit starts at 1000, so that three digits are enough.
 */
export function formatSize(bytes: number): string {
  let unit = 0;
  // 1000 of one unit count as 0.977 of the next.
  while (unit < UNITS.length - 1 && bytes * 1.024 >= 1024 ** (unit + 1)) unit++;
  return `${threeDigits(BigInt(bytes), 1n << BigInt(unit * 10))} ${UNITS[unit] ?? ""}`;
}

/**
 * `value / divisor` with three significant digits, as C's `%0.3g` prints it. The division is exact
 * and a tie goes to the even digit, where JavaScript's own rounding goes up.
 */
function threeDigits(value: bigint, divisor: bigint): string {
  if (value === 0n) return "0";
  let decimals = 2;
  while (decimals > 0 && value >= divisor * 10n ** BigInt(3 - decimals)) decimals--;
  if (value < divisor) decimals = 3;
  const scale = 10n ** BigInt(decimals);
  const doubled = value * scale * 2n;
  let digits = doubled / (divisor * 2n);
  const rest = doubled % (divisor * 2n);
  if (rest > divisor || (rest === divisor && digits % 2n === 1n)) digits++;
  const integral = digits / scale;
  if (integral >= 1000n) return "1e+03";
  // Trailing zeros go, and with them the point.
  const fraction = String(digits % scale)
    .padStart(decimals, "0")
    .replace(/0+$/, "");
  return decimals === 0 || fraction === "" ? String(integral) : `${integral}.${fraction}`;
}

/** A size for people with the exact number of bytes behind it: "1 GiB (1073741824 bytes)". */
export function formatExactSize(bytes: number): string {
  return `${formatSize(bytes)} (${BigInt(bytes)} bytes)`;
}
