/** Files in which something happens in the middle of a command. */
import { fileProvider } from "../../src/index.ts";
import type { Storage, StorageProvider } from "../../src/storage/index.ts";

/** The calls that learn something about a file's contents. */
const asking = ["read", "readSync", "extent"] as const;

/**
 * Local files; `before` is called ahead of everything that is read of those that are opened, with the
 * number of the call, from 1 on over all files.
 */
export function watchedProvider(before: (call: number) => void): StorageProvider {
  const files = fileProvider();
  let calls = 0;
  return {
    ...files,
    async open(name, mode) {
      const storage: Storage = await files.open(name, mode);
      for (const method of asking) {
        const original = storage[method] as ((...args: unknown[]) => unknown) | undefined;
        if (original === undefined) continue;
        const value = (...args: unknown[]): unknown => {
          before(++calls);
          return original.apply(storage, args);
        };
        Object.defineProperty(storage, method, { value });
      }
      return storage;
    },
  };
}
