/**
 * Measures what `platter-img/core` costs a web page: dist/core.js with all it imports, bundled,
 * minified and compressed with gzip; what is loaded with the page apart from what is loaded when an
 * image needs it (the zstd decoder, most of which is WebAssembly). Exits 1 when either is over its
 * budget, or when anything in it would not load in a browser.
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

/** Bytes, minified and gzipped. */
const budgets = { "with the page": 80_000, "when needed": 100_000 };

const bundle = await rolldown({
  input: join(import.meta.dirname, "../dist/core.js"),
  platform: "browser",
  logLevel: "silent",
});
const { output } = await bundle.generate({ format: "esm", minify: true });
await bundle.close();

const chunks = output.filter((item) => item.type === "chunk");
const sizeOf = (some: typeof chunks): number =>
  some.reduce((sum, { code }) => sum + gzipSync(code, { level: 9 }).length, 0);
const entry = chunks.filter(({ isEntry }) => isEntry);
/** A chunk brings along all that it imports, and what that imports. */
const initial = new Set(entry.map(({ fileName }) => fileName));
for (const name of initial) {
  for (const more of chunks.find(({ fileName }) => fileName === name)?.imports ?? [])
    initial.add(more);
}
const sizes = {
  "with the page": sizeOf(chunks.filter(({ fileName }) => initial.has(fileName))),
  "when needed": sizeOf(chunks.filter(({ fileName }) => !initial.has(fileName))),
};
const foreign = chunks
  .flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports])
  .filter((name) => !chunks.some(({ fileName }) => fileName === name));

for (const name of foreign) console.error(`core size: ${name} does not load in a browser`);
if (foreign.length > 0 || initial.size === 0) process.exitCode = 1;
for (const [when, size] of Object.entries(sizes)) {
  const budget = budgets[when as keyof typeof budgets];
  console.log(`core size: loaded ${when}: ${size} of ${budget} bytes (minified, gzip)`);
  if (size <= budget && size > 0) continue;
  console.error(`core size: ${size === 0 ? "nothing was measured" : "over the budget"}`);
  process.exitCode = 1;
}
