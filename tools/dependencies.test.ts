import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import manifest from "../package.json" with { type: "json" };
import nodeManifest from "./node/package.json" with { type: "json" };

const page = readFileSync(join(import.meta.dirname, "../docs/dependencies.md"), "utf8");
const listed = Object.fromEntries(
  [...page.matchAll(/^\| ([@\w/-]+)\s*\| ([\d.]+)\s*\|/gm)].map((row) => [row[1], row[2]]),
);

describe("docs/dependencies.md", () => {
  it("lists what package.json does, at the same exact versions", () => {
    expect(listed).toEqual({
      ...manifest.dependencies,
      ...manifest.optionalDependencies,
      ...manifest.devDependencies,
    });
  });

  it("names the Node that the checkout brings", () => {
    for (const [name, version] of Object.entries(nodeManifest.optionalDependencies)) {
      expect(page).toContain(name);
      expect(page).toContain(version);
    }
  });
});
