/** What tests of images compare. */
import { expect } from "vitest";
import type { CheckReport } from "../disk/index.ts";

/** Neither corruptions nor leaks. */
export function expectCleanReport({
  problems,
  corruptions,
  leaks,
  checkErrors,
}: CheckReport): void {
  const text = problems.map(({ message }) => message).join("\n");
  expect({ corruptions, leaks, checkErrors }, text).toEqual({
    corruptions: 0,
    leaks: 0,
    checkErrors: 0,
  });
}

/** Two arrays of the same bytes; says where they differ, instead of printing them. */
export function expectEqual(found: Uint8Array, expected: Uint8Array, base: number): void {
  const at = firstDifference(found, expected);
  if (at < 0) return;
  expect.fail(
    `byte ${base + at} (sector ${Math.floor((base + at) / 512)}) is ${found[at]}, not ${expected[at]}`,
  );
}

/** The first place at which two arrays differ; negative where none does. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return i;
  return -1;
}
