/**
 * Measures what `platter-img/core` costs a web page: dist/core.js with all it imports, bundled,
 * minified and compressed with gzip. Exits 1 when that is over the budget, or when anything in it
 * would not load in a browser.
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

/** Bytes, minified and gzipped. */
const budget = 60_000;

const bundle = await rolldown({
  input: join(import.meta.dirname, "../dist/core.js"),
  platform: "browser",
  logLevel: "silent",
});
const { output } = await bundle.generate({ format: "esm", minify: true });
await bundle.close();

const chunks = output.filter((item) => item.type === "chunk");
const size = chunks.reduce((sum, { code }) => sum + gzipSync(code, { level: 9 }).length, 0);
const foreign = chunks
  .flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports])
  .filter((name) => !chunks.some(({ fileName }) => fileName === name));

for (const name of foreign) console.error(`core size: ${name} does not load in a browser`);
console.log(`core size: ${size} of ${budget} bytes (minified, gzip)`);
if (size > budget) console.error("core size: over the budget");
if (foreign.length > 0 || size > budget || size === 0) process.exitCode = 1;
