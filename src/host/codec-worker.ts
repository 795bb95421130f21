import { parentPort, workerData } from "node:worker_threads";
import { canPack, pack, readsOnly, unpack, type PackJob, type UnpackJob } from "../codec/index.ts";
import { PlatterError, type ErrorCode } from "../errors.ts";
import { buffersOf } from "./buffers-of.ts";
import { nodeCodecs } from "./codecs.ts";
import { useParts, type Parts } from "./one-file.ts";

/** A piece of work for a thread. */
export type Job =
  | { readonly kind: "pack"; readonly job: PackJob }
  | { readonly kind: "unpack"; readonly job: UnpackJob };

/** What a thread answers: the result of the job, or the error, whose class does not get across. */
export type Answer =
  | { readonly result: unknown }
  | { readonly code: ErrorCode; readonly message: string };

// A program that is one file hands on what it has inside.
if (workerData !== null) useParts(workerData as Parts);

async function run(work: Job): Promise<object> {
  const codec = await nodeCodecs.load(work.job.type);
  if (work.kind === "unpack") return unpack(codec, work.job);
  if (!canPack(codec)) throw readsOnly(codec.type);
  return pack(codec, work.job);
}

/** Hands the buffers over with the answer. */
function answer(message: Answer, transfer: ArrayBuffer[]): void {
  parentPort?.postMessage(message, { transfer });
}

function failed(error: unknown): Answer {
  const message = error instanceof Error ? error.message : String(error);
  return { code: error instanceof PlatterError ? error.code : "E_CODEC", message };
}

parentPort?.on("message", (work: Job) => {
  run(work).then(
    (result) => answer({ result }, buffersOf(result)),
    (error: unknown) => answer(failed(error), []),
  );
});
