/** The buffers in a job or a result, which go over to the other thread with it. */
export const buffersOf = (work: object): ArrayBuffer[] =>
  Object.values(work)
    .filter((value) => value instanceof Uint8Array)
    .map(({ buffer }) => buffer as ArrayBuffer);
