import { expect, test } from "vitest";
import { PlatterError } from "../errors.ts";
import { MemoryStorage } from "./memory.ts";
import type { NewStorage, StorageProvider } from "./provider.ts";
import type { Storage, WritableStorage } from "./storage.ts";
import { TimedStorage, timedProvider } from "./timed.ts";

const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

/** A storage one of whose calls is never answered. */
function stuck(call: "read" | "write" | "flush" | "truncate" | "close"): Storage {
  const memory = MemoryStorage.from(new Uint8Array(4096).fill(7), "stuck");
  return Object.defineProperty(memory, call, { value: never });
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "answered";
  } catch (error) {
    return (error as PlatterError).code;
  }
}

test.each<["read" | "write" | "flush" | "truncate"]>([
  ["read"],
  ["write"],
  ["flush"],
  ["truncate"],
])("a %s that is not answered is an error, and the storage is not used any more", async (call) => {
  const storage = new TimedStorage(stuck(call), 20);
  const calls = {
    read: () => storage.read(512, new Uint8Array(8)),
    write: () => storage.write!(512, new Uint8Array(8)),
    flush: () => storage.flush!(),
    truncate: () => storage.truncate!(8),
  };
  for (const [name, run] of Object.entries(calls)) {
    if (name !== call) expect(await codeOf(run())).toBe("answered");
  }
  await expect(calls[call]()).rejects.toThrow(/^stuck: no answer within 0.02 s \(/);
  for (const run of Object.values(calls)) expect(await codeOf(run())).toBe("E_TIMEOUT");
  await storage.close();
});

test("closing takes no longer either", async () => {
  expect(await codeOf(new TimedStorage(stuck("close"), 20).close())).toBe("E_TIMEOUT");
});

test("what answers in time is as before, errors included", async () => {
  const memory = MemoryStorage.from(new Uint8Array(4096).fill(7), "memory");
  const storage = new TimedStorage(memory, 10_000);
  const into = new Uint8Array(4);
  expect(await storage.read(4094, into)).toBe(2);
  expect([...into]).toEqual([7, 7, 0, 0]);
  expect(storage.readSync).toBe(undefined);
  const failing = Object.defineProperty(memory, "read", {
    value: () => Promise.reject(new PlatterError("E_IO", "it failed")),
  });
  const after = new TimedStorage(failing, 10_000);
  for (let i = 0; i < 2; i++) expect(await codeOf(after.read(0, into))).toBe("E_IO");
});

test("opening and creating are limited, and what comes late is closed and removed", async () => {
  const done: string[] = [];
  const gates: Array<() => void> = [];
  const later = <T>(value: T): Promise<T> =>
    new Promise((resolve) => gates.push(() => resolve(value)));
  const closing = (name: string): Storage & WritableStorage =>
    Object.defineProperty(new MemoryStorage({ name }), "close", {
      value: async () => void done.push(`close ${name}`),
    });
  const made: NewStorage = {
    storage: closing("made"),
    publish: never,
    discard: async () => void done.push("discard"),
  };
  const slow: StorageProvider = {
    open: () => later(closing("opened")),
    create: () => later(made),
    exists: never,
    resolve: (reference) => reference,
  };
  const provider = timedProvider(slow, 20);
  expect(await codeOf(provider.open("a", { writable: false }))).toBe("E_TIMEOUT");
  expect(await codeOf(provider.create("b"))).toBe("E_TIMEOUT");
  expect(await codeOf(provider.exists("c"))).toBe("E_TIMEOUT");
  for (const open of gates) open();
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(done).toEqual(["close opened", "close made", "discard"]);
  const quick = timedProvider({ ...slow, create: () => Promise.resolve(made) }, 20);
  const created = await quick.create("b");
  expect(await codeOf(created.publish())).toBe("E_TIMEOUT");
});
