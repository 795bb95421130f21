import { FilterStorage } from "./filter.ts";
import type { StorageCall, StorageChange } from "./filter.ts";
import { MemoryStorage } from "./memory.ts";
import type { WritableStorage } from "./storage.ts";

/** One entry of a {@link RecordingStorage}'s log. */
export type Recorded = StorageChange | { readonly kind: "flush" };

/**
 * Writes down everything that is done to a storage, so that the file can be rebuilt as a crash at
 * any moment would have left it.
 *
 * Changes are logged, with a copy of their bytes, when they have succeeded; a change that failed or
 * that the storage declined is not. A flush stands in the log where it was *called*, because it
 * vouches only for what had been done by then.
 */
export class RecordingStorage extends FilterStorage {
  readonly #log: Recorded[] = [];

  declare readonly write: WritableStorage["write"];
  declare readonly flush: WritableStorage["flush"];

  constructor(inner: WritableStorage) {
    super(inner);
  }

  /** What has been done, in order. Grows with every change. */
  get log(): readonly Recorded[] {
    return this.#log;
  }

  /**
   * For each entry of the log, the number of flushes before it. All entries of an epoch before that
   * of the last flush are on stable storage; those of one epoch may reach it in any order.
   */
  epochs(): number[] {
    let epoch = 0;
    return this.#log.map((entry) => (entry.kind === "flush" ? epoch++ : epoch));
  }

  /**
   * The storage as it is after the first `prefixLength` entries of the log, applied to a copy of
   * `onto`: the contents at the time the recording began; nothing by default.
   */
  async replay(prefixLength: number, onto?: MemoryStorage | Uint8Array): Promise<MemoryStorage> {
    const storage =
      onto === undefined || onto instanceof Uint8Array
        ? MemoryStorage.from(onto ?? new Uint8Array(0), this.name)
        : onto.clone(this.name);
    for (const entry of this.#log.slice(0, prefixLength)) await applyRecorded(entry, storage);
    return storage;
  }

  protected override async around<T>(call: StorageCall, run: () => Promise<T>): Promise<T> {
    const entry = copy(call);
    if (entry?.kind === "flush") {
      this.#log.push(entry);
      try {
        return await run();
      } catch (error) {
        this.#log.splice(this.#log.indexOf(entry), 1);
        throw error;
      }
    }
    const result = await run();
    // `zero` resolves to false when it has done nothing.
    if (entry && result !== false) this.#log.push(entry);
    return result;
  }

  protected override aroundSync<T>(call: StorageCall, run: () => T): T {
    const entry = copy(call);
    const result = run();
    if (entry) this.#log.push(entry);
    return result;
  }
}

/** Does to `storage` what was done when `entry` was recorded. */
export async function applyRecorded(entry: Recorded, storage: MemoryStorage): Promise<void> {
  switch (entry.kind) {
    case "write": {
      storage.writeSync(entry.offset, entry.bytes);
      return;
    }
    case "flush":
      return storage.flush();
    case "truncate":
      return storage.truncate(entry.size);
    case "zero":
      await storage.zero(entry.offset, entry.length, { unmap: entry.unmap });
      return;
    case "allocate":
      return storage.allocate(entry.offset, entry.length);
  }
}

/** The log entry for `call`, with bytes of its own; undefined for calls that change nothing. */
function copy(call: StorageCall): Recorded | undefined {
  if (call.kind === "read") return undefined;
  // Each flush is an object of its own, by which it is found again.
  return call.kind === "write" ? { ...call, bytes: call.bytes.slice() } : { ...call };
}
