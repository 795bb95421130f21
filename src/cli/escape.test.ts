import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { escapeControls } from "../errors.ts";
import { escapeQemu } from "./escape.ts";

it("escapes what a terminal would obey", () => {
  expect(escapeControls("a\x1b[2J\n\u009b\u202eb")).toBe(String.raw`a\x1b[2J\n\x9b\u202eb`);
});

it("leaves everything else alone", () => {
  expect(escapeControls("Größe \\ 磁盘 😀")).toBe("Größe \\ 磁盘 😀");
});

it("keeps the newlines of QEMU's texts, and those only", () => {
  const text = "Bitmap 'a\nTRY' is inconsistent\nTry block-dirty-bitmap-remove to delete it\n";
  expect(escapeQemu(text)).toBe(text.replace("a\nTRY", String.raw`a\nTRY`));
});

const source = join(import.meta.dirname, "..");
const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter(
  (file) =>
    /^(formats|commands|host|disk|storage|copy)\/.*\.ts$/.test(file) ||
    /^cli\/(objects|format-services|snapshot-parameter|usage)\.ts$/.test(file),
);

it("knows all of them", () => {
  const found: string[] = [];
  for (const file of files) {
    if (/test|signatures|probed-raw|qemu-json|replace/.test(file)) continue;
    const text = readFileSync(join(source, file), "utf8");
    // A newline inside a literal, or at its end with another one behind.
    for (const [, next] of text.matchAll(/\\n(?:["`]\s*\+\s*["`])?([^"`\n]+)/g)) {
      if (!/^[(,)]/.test(next!)) found.push(`${file}: ${next}`);
    }
  }
  expect(found.length).toBeGreaterThan(12);
  const unknown = found.filter(
    (line) => !escapeQemu(`\n${line.replace(/^.*?: /, "")}`).startsWith("\n"),
  );
  expect(unknown).toEqual([]);
});
