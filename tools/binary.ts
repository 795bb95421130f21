/**
 * Makes the program that is one file, for machines without Node: `npm run build:binary`. It is the Node that
 * runs this, with our code, the native module for the C library and the code of the threads inside: for
 * the same system and processor. Written to build/platter, or to the name given.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { rolldown } from "rolldown";

const root = join(import.meta.dirname, "..");
const target = resolve(process.argv[2] ?? join(root, "build/platter"));
const scratch = mkdtempSync(join(tmpdir(), "platter-binary-"));

/** Bundles a module with all that it imports into one script. */
async function bundle(input: string, name: string, format: "cjs" | "esm"): Promise<string> {
  const file = join(scratch, name);
  const built = await rolldown({
    input: join(root, input),
    platform: "node",
    external: ["koffi", "node:sea"],
    checks: { ineffectiveDynamicImport: false },
  });
  await built.write({ file, format, codeSplitting: false, minify: true });
  await built.close();
  return file;
}

const { platform, arch } = process;
const native = `@koromix/koffi-${platform}-${arch}/${platform}_${arch}/koffi.node`;
try {
  const config = {
    main: await bundle("src/cli/one-file.ts", "platter.cjs", "cjs"),
    output: target,
    executable: process.execPath,
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    assets: {
      "koffi.node": createRequire(import.meta.url).resolve(native),
      "codec-worker.js": await bundle("src/host/codec-worker.ts", "codec-worker.js", "cjs"),
      "mover-worker.js": await bundle("src/host/mover-worker.ts", "mover-worker.js", "cjs"),
    },
  };
  const file = join(scratch, "sea.json");
  writeFileSync(file, JSON.stringify(config));
  mkdirSync(dirname(target), { recursive: true });
  execFileSync(process.execPath, ["--build-sea", file], { stdio: ["ignore", "ignore", "inherit"] });
  console.log(`${target}: ${Math.round(statSync(target).size / 2 ** 20)} MiB`);
} finally {
  rmSync(scratch, { recursive: true });
}
