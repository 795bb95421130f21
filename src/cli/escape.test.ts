import { expect, it } from "vitest";
import { escapeControls } from "./escape.ts";

it("escapes what a terminal would obey", () => {
  expect(escapeControls("a\x1b[2J\n\u009b\u202eb")).toBe(String.raw`a\x1b[2J\n\x9b\u202eb`);
});

it("leaves everything else alone", () => {
  expect(escapeControls("Größe \\ 磁盘 😀")).toBe("Größe \\ 磁盘 😀");
  expect(escapeControls("a\nb\t", "\n")).toBe("a\nb\\t");
});
