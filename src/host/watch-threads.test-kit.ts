import type { Worker } from "node:worker_threads";
import { afterEach, beforeEach } from "vitest";

/** The threads that were started while a test runs, and those of them that have ended. */
export interface WatchedThreads {
  readonly started: readonly Worker[];
  readonly ended: ReadonlySet<Worker>;
}

/** Watches the threads of each test in a file. */
export function watchThreads(): WatchedThreads {
  const started: Worker[] = [];
  const ended = new Set<Worker>();
  const watch = (worker: Worker): void => {
    started.push(worker);
    worker.once("exit", () => ended.add(worker));
  };
  beforeEach(() => {
    started.length = 0;
    ended.clear();
    process.on("worker", watch);
  });
  afterEach(() => {
    process.off("worker", watch);
  });
  return { started, ended };
}
