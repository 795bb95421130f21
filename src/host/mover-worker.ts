import { parentPort } from "node:worker_threads";
import type { Bytes } from "../bytes/index.ts";
import type { FileMove, MoveFailure } from "../codec/index.ts";
import { bufferFor, SegmentMover, type StoredSegment } from "./segment-mover.ts";

/** What a thread is told. */
export interface MoveOrder {
  readonly move: FileMove;
  readonly words: SharedArrayBuffer;
}

/** What it answers. */
export interface MoveAnswer {
  readonly stored: readonly StoredSegment[];
  readonly failure: MoveFailure | undefined;
}

let buffer: Bytes | undefined;

parentPort?.on("message", ({ move, words }: MoveOrder) => {
  buffer = bufferFor(move, buffer);
  const mover = new SegmentMover(move, words, buffer);
  while (mover.step() !== "done");
  const { stored, failure } = mover;
  parentPort?.postMessage({ stored, failure } satisfies MoveAnswer, []);
});
