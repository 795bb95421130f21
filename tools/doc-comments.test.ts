import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { publicExports } from "./doc-comments.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "platter-docs-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

/** The names exported by `index.ts`, those without a doc comment marked with a question mark. */
function exported(files: Readonly<Record<string, string>>): string[] {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return publicExports(join(directory, "index.ts")).map(
    ({ name, documented }) => name + (documented ? "" : "?"),
  );
}

describe("doc comments", () => {
  it("sees them on every kind of declaration", () => {
    expect(
      exported({
        "index.ts": `
          /** A. */ export const a = 1;
          /** B. */ export function b(): void {}
          /** C. */ export class C {}
          /** D. */ export interface D {}
          /** E. */ export type E = 1;
          export const f = 1;
          export function g(): void {}
          export class H {}
          export interface I {}
          export type J = 1;`,
      }),
    ).toEqual(["a", "b", "C", "D", "E", "f?", "g?", "H?", "I?", "J?"]);
  });

  it("does not take another comment for one", () => {
    expect(
      exported({
        "index.ts": `/** The file. @module */
          export const a = 1;
          // A line.
          export const b = 1;
          /* A block. */
          export const c = 1;
          /** */
          export const d = 1;
          /** Of something else. */
          const other = 1;
          export const e = other;`,
      }),
    ).toEqual(["a?", "b?", "c?", "d?", "e?"]);
  });

  it("follows re-exports to the declaration", () => {
    expect(
      exported({
        "index.ts": `
          import { d } from "./other.ts";
          export * from "./all.ts";
          export { a as b, c } from "./other.ts";
          export type { T } from "./other.ts";
          export { d };
          const e = 1;
          export { e };`,
        "all.ts": "/** X. */ export const x = 1; export const y = 1;",
        "other.ts": `
          /** A. */ export const a = 1;
          export const c = 1;
          /** D. */ export const d = 1;
          export type T = 1;`,
      }),
    ).toEqual(["x", "y?", "b", "c?", "T?", "d", "e?"]);
  });
});
