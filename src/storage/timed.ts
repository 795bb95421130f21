import { PlatterError } from "../errors.ts";
import { FilterStorage, type StorageCall } from "./filter.ts";
import type { HostExtent, HostExtentOptions, Volume } from "./host-extents.ts";
import type { NewStorage, StorageProvider } from "./provider.ts";
import type { LockMode, Storage, WritableStorage } from "./storage.ts";

/**
 * Waits for `work`, but not longer than `timeout` milliseconds. Throws `E_TIMEOUT` after that; what `work`
 * comes to then is handed to `late`, and its errors are nobody's.
 */
async function within<T>(
  timeout: number,
  file: string,
  doing: string,
  work: Promise<T>,
  late?: (result: T) => unknown,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isLate = false;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      isLate = true;
      reject(expiry(file, doing, timeout));
    }, timeout);
  });
  work.then(
    (result) => (isLate ? late?.(result) : undefined),
    () => undefined,
  );
  try {
    return await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}

const expiry = (file: string, doing: string, timeout: number): PlatterError =>
  new PlatterError(
    "E_TIMEOUT",
    `${file}: no answer within ${timeout / 1000} s (${doing}): the disk or server behind it has ` +
      `stopped, or is slower than the time that was given`,
    { file, field: "timeout", value: timeout, qemu: "Connection timed out" },
  );

const words = (call: StorageCall): string =>
  "offset" in call ? `${call.kind} at ${call.offset}` : call.kind;

/**
 * A storage each of whose requests has to be answered within a time. The first one that is not makes all later
 * ones fail at once, for what does not answer may do so later and out of turn; and closing does not wait for what
 * is stuck. It has no calls that block the thread, which nothing could interrupt, but those that ask for holes,
 * extents and locks.
 */
export class TimedStorage extends FilterStorage {
  declare readonly lock?: (mode: LockMode) => void;
  declare readonly hostExtents?: (
    start?: number,
    end?: number,
    options?: HostExtentOptions,
  ) => Iterable<HostExtent> | undefined;
  declare readonly volume?: () => Promise<Volume | undefined>;
  readonly #timeout: number;
  #stopped: PlatterError | undefined;

  /** @param timeout milliseconds for each request, more than 0 */
  constructor(inner: Storage, timeout: number) {
    super(inner);
    this.#timeout = timeout;
    Object.defineProperties(this, {
      readSync: { value: undefined },
      writeSync: { value: undefined },
    });
    if (inner.lock) this.lock = (mode) => inner.lock!(mode);
    if (inner.hostExtents) {
      this.hostExtents = (start, end, options) => inner.hostExtents!(start, end, options);
    }
    if (inner.volume) this.volume = () => this.#within("statfs", () => inner.volume!());
  }

  override async close(): Promise<void> {
    if (this.#stopped === undefined) return this.#within("close", () => this.inner.close());
    // As soon as it can be, if ever; the end of the process does the same.
    this.inner.close().catch(() => undefined);
  }

  protected override around<T>(call: StorageCall, run: () => Promise<T>): Promise<T> {
    return this.#within(words(call), run);
  }

  protected override aroundSync<T>(_call: StorageCall, run: () => T): T {
    return run();
  }

  async #within<T>(doing: string, run: () => Promise<T>): Promise<T> {
    if (this.#stopped !== undefined) throw this.#stopped;
    try {
      return await within(this.#timeout, this.name, doing, run());
    } catch (error) {
      if (error instanceof PlatterError && error.code === "E_TIMEOUT") this.#stopped ??= error;
      throw error;
    }
  }
}

/** A provider whose storages are {@link TimedStorage}s, and whose own work is limited in the same way. */
export function timedProvider(provider: StorageProvider, timeout: number): StorageProvider {
  const discardLate = async (made: NewStorage): Promise<void> => {
    await made.storage.close().catch(() => undefined);
    await made.discard().catch(() => undefined);
  };
  return {
    open: async (name, mode) => {
      const opening = provider.open(name, mode);
      const close = (late: Storage): Promise<void> => late.close().catch(() => undefined);
      return new TimedStorage(await within(timeout, name, "open", opening, close), timeout);
    },
    create: async (name, options) => {
      const creating = provider.create(name, options);
      const made = await within(timeout, name, "create", creating, discardLate);
      return {
        storage: new TimedStorage(made.storage, timeout) as TimedStorage & WritableStorage,
        publish: (how) => within(timeout, name, "publish", made.publish(how)),
        discard: () => within(timeout, name, "discard", made.discard()),
      };
    },
    exists: (name) => within(timeout, name, "look", provider.exists(name)),
    resolve: (reference, image, kind) => provider.resolve(reference, image, kind),
  };
}
