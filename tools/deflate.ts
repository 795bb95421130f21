/**
 * Builds the deflate encoder: `node tools/deflate.ts` compiles tools/deflate/deflate.c and writes
 * src/host/deflate-wasm.ts. `--check` tells whether that is what the source gives. Needs clang and lld (Debian's
 * packages of these names); nobody else does, because the result is kept.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const source = join(import.meta.dirname, "deflate/deflate.c");
const target = join(import.meta.dirname, "../src/host/deflate-wasm.ts");
const scratch = mkdtempSync(join(tmpdir(), "platter-deflate-"));
const lineLength = 100;

try {
  const file = join(scratch, "deflate.wasm");
  const machine = ["--target=wasm32", "-msimd128", "-mbulk-memory", "-nostdlib"];
  execFileSync(
    "clang",
    [...machine, "-O2", "-Wl,--no-entry", "-Wl,--strip-all", "-o", file, source],
    { stdio: "inherit" },
  );
  const base64 = readFileSync(file).toString("base64");
  const lines = base64.match(new RegExp(`.{1,${lineLength - 8}}`, "g")) ?? [];
  const text = [
    "/** Made by `node tools/deflate.ts` from tools/deflate/deflate.c: WebAssembly, in base64. */",
    "export const deflateWasm =",
    ...lines.map((line, i) => `  "${line}"${i === lines.length - 1 ? ";" : " +"}`),
    "",
  ].join("\n");
  if (!process.argv.includes("--check")) writeFileSync(target, text);
  else if (readFileSync(target, "utf8") !== text) {
    process.stderr.write("src/host/deflate-wasm.ts is not what tools/deflate/deflate.c gives\n");
    process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true });
}
