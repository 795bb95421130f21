import type { Disk } from "../disk/index.ts";
import { PlatterError, throwIfAborted } from "../errors.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";
import { withDisk } from "./with-disk.ts";

/** Which requests to send to which image. */
export interface BenchOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** Requests in all. */
  readonly count: number;
  /** Requests under way at once; at least 1. */
  readonly depth: number;
  /** Guest offset of the first request in bytes. */
  readonly offset: number;
  /** Bytes of a request. */
  readonly bufferSize: number;
  /** Bytes from the start of one request to the start of the next, modulo the size of the disk. */
  readonly step: number;
  /** Write instead of reading; destroys the contents of the disk. */
  readonly write?: boolean | undefined;
  /** The byte that is written. */
  readonly pattern?: number | undefined;
  /** After so many writes everything is flushed; 0 or absent: never. */
  readonly flushInterval?: number | undefined;
  /** Wait for the requests under way before a flush; default true. */
  readonly drain?: boolean | undefined;
  /** A flush after each write. */
  readonly writethrough?: boolean | undefined;
  /** Flushes do nothing. */
  readonly unsafe?: boolean | undefined;
  /** Past the host's page cache. */
  readonly direct?: boolean | undefined;
  /** Others may be writing to the image (`-U`). */
  readonly shared?: boolean | undefined;
  /** Told when the image is open and the requests are about to be sent. */
  readonly onStart?: (() => void) | undefined;
  /** Milliseconds since some moment. */
  readonly now?: (() => number) | undefined;
}

/** How long it took. */
export interface BenchResult {
  readonly requests: number;
  /** Bytes read or written. */
  readonly bytes: number;
  readonly seconds: number;
}

/** Sends requests of one size at regular distances to a disk, some of them at once, and takes the time. */
export async function bench(options: BenchOptions, context: CommandContext): Promise<BenchResult> {
  const { name, format, imageOpts, shared, direct, write = false, unsafe = false } = options;
  const { now = () => performance.now() } = options;
  const opened = await openImage(
    {
      name,
      format,
      imageOpts,
      shared,
      direct,
      writable: write,
      barriers: !unsafe,
    },
    context,
  );
  return withDisk(opened, async (disk) => {
    if (disk.size === 0) {
      throw new PlatterError("E_INVALID_SIZE", `${name}: an empty disk cannot be measured.`, {
        file: name,
        field: "size",
        value: 0,
      });
    }
    options.onStart?.();
    const start = now();
    await new Run(disk, options, context.signal).finish();
    return {
      requests: options.count,
      bytes: options.count * options.bufferSize,
      seconds: (now() - start) / 1000,
    };
  });
}

/** One run: keeps `depth` requests under way until all have been sent. */
class Run {
  private readonly disk: Disk;
  private readonly options: BenchOptions;
  private readonly signal: AbortSignal | undefined;
  private sent = 0;
  private offset: number;
  /** Flushes that nobody waits for before the end. */
  private readonly flushes: Promise<void>[] = [];
  /** The turn of those who want to drain: set while one waits for the others. */
  private draining: Promise<void> | undefined;
  private readonly underWay = new Set<Promise<void>>();

  constructor(disk: Disk, options: BenchOptions, signal: AbortSignal | undefined) {
    this.disk = disk;
    this.options = options;
    this.signal = signal;
    this.offset = options.offset;
  }

  async finish(): Promise<void> {
    const lanes = Math.min(this.options.depth, this.options.count);
    const results = await Promise.allSettled(Array.from({ length: lanes }, () => this.lane()));
    const flushed = await Promise.allSettled(this.flushes);
    for (const result of [...results, ...flushed]) {
      if (result.status === "rejected") throw failedRequest(result.reason);
    }
  }

  /** Sends one request after the other, until there are no more. */
  private async lane(): Promise<void> {
    const { bufferSize, pattern = 0, count, flushInterval = 0, drain = true } = this.options;
    const buffer = new Uint8Array(bufferSize).fill(pattern);
    while (this.sent < count) {
      throwIfAborted(this.signal);
      await this.draining;
      if (this.sent >= count) return;
      const request = this.request(buffer);
      this.underWay.add(request);
      try {
        await request;
      } catch (error) {
        // The others have nothing left to do.
        this.sent = count;
        throw error;
      } finally {
        this.underWay.delete(request);
      }
      if (flushInterval === 0 || !this.isFlushDue(flushInterval)) continue;
      if (drain) await (this.draining ??= this.drainAndFlush());
      else this.flushes.push(this.flush());
    }
  }

  private done = 0;

  private isFlushDue(interval: number): boolean {
    this.done++;
    return this.done % interval === 0;
  }

  private async drainAndFlush(): Promise<void> {
    await Promise.allSettled(this.underWay);
    await this.flush();
    this.draining = undefined;
  }

  private flush(): Promise<void> {
    return this.options.unsafe === true ? Promise.resolve() : this.disk.flush();
  }

  private async request(buffer: Uint8Array): Promise<void> {
    const { step, write = false, writethrough = false } = this.options;
    const at = this.offset;
    this.sent++;
    this.offset = (at + step) % this.disk.size;
    if (!write) return this.disk.read(at, buffer);
    await this.disk.write(at, buffer);
    if (writethrough) await this.disk.flush();
  }
}

function failedRequest(error: unknown): unknown {
  if (!(error instanceof PlatterError) || error.code === "E_ABORTED") return error;
  const reason =
    error.code === "E_OUT_OF_RANGE"
      ? "Input/output error"
      : (error.details.qemu ?? "Input/output error");
  return new PlatterError(error.code, error.message, {
    ...error.details,
    qemu: `Failed request: ${reason}`,
  });
}
