/** Starts the program that is one file: see tools/binary.ts. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { getAsset, getRawAsset } from "node:sea";
import { loadNative, useParts } from "../host/index.ts";
import { run } from "./run.ts";

/** Where a library may be loaded from: the temporary directory does not always allow it. */
const { XDG_CACHE_HOME: cache = "" } = process.env;
const places = [cache === "" ? join(homedir(), ".cache") : cache, tmpdir()];

/**
 * Loads koffi's native module, which can be loaded from files only: from one that is gone once it is loaded.
 * Undefined where no place allows that.
 */
function unpackNative(): string | undefined {
  for (const place of places) {
    let directory: string | undefined;
    try {
      mkdirSync(place, { recursive: true });
      directory = mkdtempSync(join(place, "platter-"));
      const file = join(directory, "koffi.node");
      writeFileSync(file, new Uint8Array(getRawAsset("koffi.node")), { mode: 0o700 });
      loadNative(file);
      return file;
    } catch {
      // The next place may do.
    } finally {
      if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
    }
  }
  return undefined;
}

useParts({
  native: unpackNative(),
  workers: {
    "codec-worker": getAsset("codec-worker.js", "utf8"),
    "mover-worker": getAsset("mover-worker.js", "utf8"),
  },
});
void run(true);
