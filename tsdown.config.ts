import { existsSync } from "node:fs";
import { defineConfig } from "tsdown";
import manifest from "./package.json" with { type: "json" };

const commandLine = "src/cli/run.ts";

// One build for all entries, so that they share chunks: an error thrown by platter-img is an
// instance of the class that platter-img/core exports. Commands are imported lazily by the command
// line and so become chunks of their own.
export default defineConfig({
  entry: {
    index: "src/index.ts",
    core: "src/core.ts",
    "chunks/codec-worker": "src/host/codec-worker.ts",
    ...(existsSync(commandLine) ? { cli: commandLine } : {}),
  },
  format: "esm",
  platform: "node",
  target: "node22.18",
  fixedExtension: false,
  dts: { entry: ["src/index.ts", "src/core.ts"] },
  outputOptions: { chunkFileNames: "chunks/[name]-[hash].js" },
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
