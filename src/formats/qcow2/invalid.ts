import { PlatterError, type ErrorCode } from "../../errors.ts";

/** A number as QEMU prints addresses: with "0x" before it unless it is 0. */
export const address = (value: number): string => (value === 0 ? "0" : `0x${value.toString(16)}`);

/** What QEMU says, with its bracket, of a cluster that is not where the guest has it in a data file. */
export const misplacement = (host: number, start: number, index: number): string =>
  `External data file host cluster offset ${address(host)} does not match guest cluster ` +
  `offset: ${address(start)}, L2 index: ${address(index)})`;

/** What is known about a value in an image that is refused. */
export interface InvalidDetails {
  readonly field?: string;
  readonly offset?: number;
  readonly value?: number | bigint | string;
  /** What the user can do about it. */
  readonly advice?: string;
}

/**
 * The error for an image that cannot be opened: `text` is what QEMU says of it, and the message adds
 * the field, its place, its value and what to do.
 */
export function invalid(
  file: string,
  code: ErrorCode,
  text: string,
  details: InvalidDetails = {},
): PlatterError {
  const { field, offset, value, advice } = details;
  const where = [
    field,
    offset === undefined ? undefined : `at ${offset}`,
    value === undefined ? undefined : `is ${value}`,
  ]
    .filter((part) => part !== undefined)
    .join(" ");
  const detail = where === "" ? "" : ` (${where})`;
  const message = `${file}: ${text}${detail}${advice === undefined ? "" : `; ${advice}`}`;
  return new PlatterError(code, message, {
    file,
    field,
    offset,
    value,
    qemu: text,
  });
}
