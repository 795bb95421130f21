import { throwIfAborted } from "../errors.ts";

/** Longest wait in milliseconds before it is looked whether the work was cancelled. */
const longestWait = 100;

/** Holds work back to so many bytes a second, measured from its start. */
export class Pace {
  private readonly bytesPerSecond: number;
  private readonly signal: AbortSignal | undefined;
  private readonly now: () => number;
  private start: number | undefined;
  private moved = 0;

  /** `now` tells milliseconds since some moment. */
  constructor(
    bytesPerSecond: number,
    signal?: AbortSignal,
    now: () => number = () => performance.now(),
  ) {
    this.bytesPerSecond = bytesPerSecond;
    this.signal = signal;
    this.now = now;
  }

  /** Resolves when `bytes` more have had their time. Throws `E_ABORTED`. */
  async spend(bytes: number): Promise<void> {
    this.start ??= this.now();
    this.moved += bytes;
    const due = this.start + (this.moved * 1000) / this.bytesPerSecond;
    for (let left = due - this.now(); left > 0; left = due - this.now()) {
      const wait = Math.min(left, longestWait);
      await new Promise<void>((resolve) => setTimeout(resolve, wait));
      throwIfAborted(this.signal);
    }
  }
}
