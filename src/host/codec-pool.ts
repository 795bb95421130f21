import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import {
  localPool,
  type CodecPool,
  type Codecs,
  type PackJob,
  type Packed,
  type UnpackJob,
  type Unpacked,
} from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import { buffersOf } from "./buffers-of.ts";
import type { Answer, Job } from "./codec-worker.ts";
import { startWorker } from "./start-worker.ts";

/** Most threads that are started without being asked for: memory grows with them. */
const mostByDefault = 16;

interface Waiting {
  readonly work: Job;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

/** A thread, and the job that it works on. */
interface Thread {
  readonly worker: Worker;
  job: Waiting | undefined;
}

/**
 * The codecs on worker threads. They start with the second job: what is small is done before they would
 * be there. Buffers go over to the threads and come back; nothing is copied.
 */
class ThreadPool implements CodecPool {
  readonly width: number;
  private readonly local: CodecPool;
  private readonly waiting: Waiting[] = [];
  private threads: Thread[] | undefined;
  private jobs = 0;
  /** Why no job can be done any more. */
  private failure: PlatterError | undefined;

  constructor(codecs: Codecs, width: number) {
    this.local = localPool(codecs);
    this.width = width;
  }

  pack(job: PackJob): Promise<Packed> {
    if (this.jobs++ === 0) return this.local.pack(job);
    return this.post({ kind: "pack", job });
  }

  unpack(job: UnpackJob): Promise<Unpacked> {
    if (this.jobs++ === 0) return this.local.unpack(job);
    return this.post({ kind: "unpack", job });
  }

  async close(): Promise<void> {
    const { threads = [] } = this;
    this.fail(new PlatterError("E_CLOSED", "The pool of threads has been closed."));
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }

  private post<T>(work: Job): Promise<T> {
    this.threads ??= Array.from({ length: this.width }, () => this.start());
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) {
        reject(this.failure);
        return;
      }
      this.waiting.push({ work, resolve, reject });
      this.next();
    });
  }

  private start(): Thread {
    const worker = startWorker("codec-worker");
    const thread: Thread = { worker, job: undefined };
    worker.on("message", (answer: Answer) => {
      const { job } = thread;
      thread.job = undefined;
      if ("code" in answer) job?.reject(new PlatterError(answer.code, answer.message));
      else job?.resolve(answer.result as never);
      this.next();
    });
    worker.on("error", (cause: unknown) => {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.fail(ended(reason, cause));
    });
    worker.on("exit", (code) => this.fail(ended(`it ended with ${code}`)));
    return thread;
  }

  /** Gives a waiting job to a thread that has none. */
  private next(): void {
    for (const thread of this.threads ?? []) {
      if (thread.job !== undefined) continue;
      const waiting = this.waiting.shift();
      if (waiting === undefined) return;
      thread.job = waiting;
      thread.worker.postMessage(waiting.work, buffersOf(waiting.work.job));
    }
  }

  /** Ends all jobs, those to come included. */
  private fail(failure: PlatterError): void {
    this.failure ??= failure;
    for (const { reject } of this.waiting.splice(0)) reject(this.failure);
    for (const thread of this.threads ?? []) {
      thread.job?.reject(this.failure);
      thread.job = undefined;
    }
  }
}

function ended(reason: string, cause?: unknown): PlatterError {
  return new PlatterError(
    "E_IO",
    `A thread that compresses and decompresses has failed: ${reason}. Nothing more can be done with it.`,
    { cause },
  );
}

/**
 * A pool of `threads` threads, by default as many as there are processors for this process; `codecs` are
 * those that the threads have. With one there is none: the work is done on the caller's thread.
 */
export function threadPool(codecs: Codecs, threads?: number): CodecPool {
  const width = threads ?? Math.min(mostByDefault, availableParallelism());
  return width > 1 ? new ThreadPool(codecs, width) : localPool(codecs);
}
