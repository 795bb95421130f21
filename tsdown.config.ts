import { defineConfig } from "tsdown";
import manifest from "./package.json" with { type: "json" };

/** What all builds have in common. */
const common = defineConfig({
  format: "esm",
  platform: "node",
  target: "node22.18",
  fixedExtension: false,
  // What the package depends on stays an import; nothing else may be one, or slip in.
  deps: {
    onlyBundle: [],
    onlyImport: [
      ...Object.keys(manifest.dependencies),
      ...Object.keys(manifest.optionalDependencies),
    ],
  },
  // How long the build takes is no fault of what is built.
  checks: { bundlerTimings: false },
  report: false,
  logLevel: "warn",
  // Said of every declaration build with TypeScript 7; the check of the package tests the result.
  suppressWarnings: "TypeScript 7.0 does not yet have a stable API",
});

/** What runs on threads, which start with a file of their own; looked for beside the code that starts them. */
const workers = ["codec-worker", "mover-worker"] as const;
const workersIn = (directory: string): Record<string, string> =>
  Object.fromEntries(workers.map((name) => [directory + name, `src/host/${name}.ts`]));

/** What the program seldom needs: it starts without them. */
const seldomNeeded =
  /src\/(lab|vm|cli\/commands\/(install|vm|follow-guest|lab)|host\/(crypto|node-zlib|own-deflate|deflate-wasm)|codec\/(zlib|zstd|portable))/;

/**
 * Has the program take Node's own modules as they are. An import of one first reads all it exports, and with that
 * loads what Node itself would load when it is used: half of the time that the program takes to start.
 */
const plainBuiltins = {
  name: "plain-builtins",
  renderChunk: (code: string): string =>
    code.replaceAll(
      /^import \{([^}]*)\} from "(node:[^"]+)";$/gm,
      (_, names: string, module: string) =>
        `const {${names.replaceAll(" as ", ": ")}} = process.getBuiltinModule("${module}");`,
    ),
};

/** Writes characters as escapes that are not ASCII: Node decodes a file that has none several times as fast. */
const plainText = {
  name: "plain-text",
  generateBundle(_: unknown, bundle: Record<string, { code?: string }>): void {
    for (const chunk of Object.values(bundle)) {
      if (chunk.code === undefined) continue;
      chunk.code = chunk.code.replaceAll(
        /[^\0-\x7f]/g,
        (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
      );
    }
  },
};

export default defineConfig([
  // One build for both entries, so that they share chunks: an error thrown by platter-img is an
  // instance of the class that platter-img/core exports.
  {
    ...common,
    entry: { index: "src/index.ts", core: "src/core.ts", ...workersIn("chunks/") },
    dts: { entry: ["src/index.ts", "src/core.ts"] },
    outputOptions: { chunkFileNames: "chunks/[name]-[hash].js" },
  },
  // The program in one file: each of thirty would take a third of a millisecond at every start.
  {
    ...common,
    entry: { cli: "src/cli/run.ts" },
    outDir: "dist/program",
    dts: false,
    plugins: [plainBuiltins, plainText],
    minify: { codegen: { removeWhitespace: true }, compress: true, mangle: { keepNames: true } },
    outputOptions: {
      codeSplitting: { groups: [{ name: "all", test: (id) => !seldomNeeded.test(id) }] },
    },
    checks: { ...common.checks, ineffectiveDynamicImport: false },
  },
  // A file for each: they start with every thread.
  ...workers.map((name) =>
    defineConfig({
      ...common,
      entry: { [name]: `src/host/${name}.ts` },
      outDir: "dist/program",
      clean: false,
      dts: false,
      plugins: [plainBuiltins],
    }),
  ),
]);
