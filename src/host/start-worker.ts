import type { Worker } from "node:worker_threads";
import { ownParts } from "./one-file.ts";

/** The data is not in the heap of a thread; what is makes no more than a few megabytes. */
const heap = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 } as const;

/** Starts a thread that runs one of the modules of this room. */
export function startWorker(module: "codec-worker" | "mover-worker"): Worker {
  // Loaded here, because most commands need no thread.
  const { Worker } = process.getBuiltinModule("node:worker_threads");
  const parts = ownParts();
  if (parts !== undefined) {
    return new Worker(parts.workers[module], {
      eval: true,
      workerData: parts,
      resourceLimits: heap,
    });
  }
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const file = new URL(`./${module}.${extension}`, import.meta.url);
  return new Worker(file, { resourceLimits: heap });
}
