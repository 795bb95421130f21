import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import type { Bytes } from "../bytes/index.ts";
import type { FileMove, FileMovers, Moved, MoveHooks } from "../codec/index.ts";
import { PlatterError, throwIfAborted } from "../errors.ts";
import type { MoveAnswer, MoveOrder } from "./mover-worker.ts";
import { bufferFor, newWords, SegmentMover, Word } from "./segment-mover.ts";
import { startWorker } from "./start-worker.ts";

/** A file has one writer at a time: more threads than these would wait for each other. */
const most = 3;

/** What has fewer segments is done before a thread would be there. */
const manySegments = 24;

/** So many segments are moved before others get their turn on this thread: signals, timers, other promises. */
const atATime = 4;

/** A thread, and what it has been asked. */
interface Thread {
  readonly worker: Worker;
  isReady: boolean;
  /** Its answer for the current move; absent while it is not part of that. */
  answer: PromiseWithResolvers<MoveAnswer> | undefined;
}

/** Movers on this thread and on worker threads, which join when they are there. */
class ThreadedMovers implements FileMovers {
  private readonly others: number;
  private threads: readonly Thread[] | undefined;
  private current: MoveOrder | undefined;
  private failure: PlatterError | undefined;
  private buffer: Bytes | undefined;

  /** `others`: how many threads besides this one. */
  constructor(others: number) {
    this.others = others;
  }

  async move(move: FileMove, { signal, onProgress }: MoveHooks): Promise<Moved> {
    const words = newWords();
    this.current = { move, words };
    if (move.segments.length >= manySegments) this.start();
    for (const thread of this.threads ?? []) this.join(thread);
    this.buffer = bufferFor(move, this.buffer);
    const mover = new SegmentMover(move, words, this.buffer);
    const view = new Int32Array(words);
    try {
      for (let moved = 1; ; moved++) {
        const step = mover.step();
        if (step === "done") break;
        if (step === "moved" && moved % atATime !== 0) continue;
        await new Promise((resolve) => setImmediate(resolve));
        onProgress?.(Math.min(Atomics.load(view, Word.next), move.segments.length));
        throwIfAborted(signal);
        if (this.failure !== undefined) throw this.failure;
      }
    } catch (error) {
      mover.stop();
      await this.answers().catch(() => undefined);
      throw error;
    }
    return merge([mover, ...(await this.answers())]);
  }

  async close(): Promise<void> {
    const { threads = [] } = this;
    this.fail(new PlatterError("E_CLOSED", "The movers have been closed."));
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }

  /** What the other threads have to say of the current move. */
  private async answers(): Promise<readonly MoveAnswer[]> {
    this.current = undefined;
    const threads = (this.threads ?? []).filter(({ answer }) => answer !== undefined);
    const answers = await Promise.all(threads.map(({ answer }) => answer!.promise));
    for (const thread of threads) thread.answer = undefined;
    return answers;
  }

  private start(): void {
    this.threads ??= Array.from({ length: this.others }, () => {
      const worker = startWorker("mover-worker");
      const thread: Thread = { worker, isReady: false, answer: undefined };
      worker.once("online", () => {
        thread.isReady = true;
        this.join(thread);
      });
      worker.on("message", (answer: MoveAnswer) => thread.answer?.resolve(answer));
      worker.on("error", (cause: unknown) => {
        this.fail(ended(cause instanceof Error ? cause.message : String(cause), cause));
      });
      worker.on("exit", (code) => this.fail(ended(`it ended with ${code}`)));
      return thread;
    });
  }

  /** Has a thread help with the current move. */
  private join(thread: Thread): void {
    if (this.current === undefined || !thread.isReady || thread.answer !== undefined) return;
    thread.answer = Promise.withResolvers();
    thread.answer.promise.catch(() => undefined);
    thread.worker.postMessage(this.current, []);
  }

  private fail(failure: PlatterError): void {
    this.failure ??= failure;
    for (const { answer } of this.threads ?? []) answer?.reject(this.failure);
  }
}

/** What all threads have stored, in guest order; or the failure that came first in it. */
function merge(answers: readonly MoveAnswer[]): Moved {
  const failures = answers.flatMap(({ failure }) => (failure === undefined ? [] : [failure]));
  const [failure] = failures.toSorted((a, b) => a.segment - b.segment);
  if (failure !== undefined) return { failure };
  const stored = answers.flatMap((answer) => answer.stored);
  return {
    stored: stored.toSorted((a, b) => a.segment - b.segment).flatMap(({ runs }) => runs),
  };
}

const ended = (reason: string, cause?: unknown): PlatterError =>
  new PlatterError(
    "E_IO",
    `A thread that moves data has failed: ${reason}. Nothing more can be done with it.`,
    {
      cause,
    },
  );

/** Movers on `threads` threads, this one included; by default as many as there are processors, and few. */
export function fileMovers(threads?: number): FileMovers {
  return new ThreadedMovers(Math.min(most, threads ?? availableParallelism()) - 1);
}
