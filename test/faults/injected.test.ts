/**
 * Failing storages: each call of a scenario fails once, or from then on, and the disk fills up at
 * each point. Every operation settles, with a PlatterError if it fails; what had been flushed is
 * there afterwards, and the image has no corruption.
 */
import { afterAll, describe, expect, test } from "vitest";
import { portableCodecs } from "../../src/codec/index.ts";
import type { Disk } from "../../src/disk/index.ts";
import { PlatterError } from "../../src/errors.ts";
import { formatNamed, openDisk, type FormatOptionValues } from "../../src/formats/index.ts";
import { JitterStorage } from "../../src/formats/jitter.test-kit.ts";
import {
  FaultyStorage,
  MemoryStorage,
  type FaultyStorageOptions,
  type StorageCall,
  type WritableStorage,
} from "../../src/storage/index.ts";

const KiB = 1024;
const maxSize = 2048 * KiB;

/** Stands for "anything may be there". */
const unknown = -1;

/** What must be on the disk, byte by byte. */
class Expected {
  /** If the image is closed without an error. */
  readonly now = new Int16Array(maxSize);
  /** Whatever happens. */
  readonly flushed = new Int16Array(maxSize);

  during(start: number, end: number): void {
    this.now.fill(unknown, start, end);
    this.flushed.fill(unknown, start, end);
  }
}

interface Setup {
  readonly size: number;
  readonly values: FormatOptionValues;
  readonly backing: boolean;
}

const setups: Readonly<Record<string, Setup>> = {
  "512-byte clusters with 64-bit refcounts": {
    size: 1024 * KiB,
    values: { cluster_size: 512, refcount_bits: 64 },
    backing: false,
  },
  "4 KiB clusters over a backing image": {
    size: 512 * KiB,
    values: { cluster_size: 4096 },
    backing: true,
  },
};

const baseBytes = new Uint8Array(300 * KiB).fill(200);

async function open(storage: WritableStorage, writable: boolean): Promise<Disk> {
  return openDisk(new JitterStorage(storage, writable ? 7 : 0), {
    writable,
    format: "qcow2",
    codecs: portableCodecs,
    cacheSize: 1,
    references: () => Promise.resolve(MemoryStorage.from(baseBytes, "base")),
  });
}

async function created({ size, values, backing }: Setup): Promise<MemoryStorage> {
  const storage = new MemoryStorage({ name: "image" });
  const made = await formatNamed("qcow2", "create").create!(storage, {
    size,
    values,
    ...(backing && { backing: { name: "base", format: "raw" } }),
  });
  await made.finish({ durable: true });
  return storage;
}

/** Runs the scenario; returns what has to be there, and the errors on the way. */
async function run(
  disk: Disk,
  expected: Expected,
): Promise<{ readonly errors: unknown[]; readonly closed: boolean }> {
  const errors: unknown[] = [];
  const attempt = async (task: () => Promise<void>): Promise<boolean> => {
    try {
      await task();
      return true;
    } catch (error) {
      errors.push(error);
      return false;
    }
  };
  const write = async (at: number, length: number, fill: number): Promise<void> => {
    if (at + length > disk.size) return;
    expected.during(at, at + length);
    const written = await attempt(() => disk.write(at, new Uint8Array(length).fill(fill)));
    if (written) expected.now.fill(fill, at, at + length);
  };
  const pack = async (at: number, fill: number): Promise<void> => {
    const length = disk.image.clusterSize;
    if (at + length > disk.size) return;
    expected.during(at, at + length);
    const packed = await attempt(() => disk.writeCompressed(at, new Uint8Array(length).fill(fill)));
    if (packed) expected.now.fill(fill, at, at + length);
  };
  const zero = async (at: number, length: number, unmap: boolean): Promise<void> => {
    if (at + length > disk.size) return;
    expected.during(at, at + length);
    if (await attempt(() => disk.writeZeroes(at, length, { unmap }))) {
      expected.now.fill(0, at, at + length);
    }
  };
  const flush = async (): Promise<void> => {
    if (await attempt(() => disk.flush())) expected.flushed.set(expected.now);
  };
  const resize = async (size: number): Promise<void> => {
    const old = disk.size;
    expected.during(Math.min(old, size), maxSize);
    const resized = await attempt(() => disk.resize(size));
    if (resized && size > old) expected.now.fill(0, old, size);
  };
  const read = async (at: number, length: number): Promise<void> => {
    if (at + length > disk.size) return;
    const found = new Uint8Array(length);
    if (!(await attempt(() => disk.read(at, found)))) return;
    expectKnown(found, expected.now.subarray(at, at + length), at);
  };

  for (let round = 0; round < 3; round++) {
    await write(10_000, 90_000, 1 + round);
    await Promise.all([write(200_000, 30_000, 11 + round), write(230_000, 5000, 21 + round)]);
    await flush();
    await pack(8192 * (round + 1), 31 + round);
    await pack(8192 * (round + 2), 34 + round);
    await zero(40_000, 20_000, round !== 1);
    await Promise.all([read(0, 200_000), write(300_100, 700, 41 + round)]);
    await flush();
    await write(42_000, 3000, 51 + round);
    await resize((700 + 300 * round) * KiB);
    await Promise.all([write(600_000, 60_000, 61 + round), zero(20_000, 9000, true)]);
    await read(20_000, 300_000);
    await resize((500 + 100 * round) * KiB);
    await write(450_000, 40_000, 71 + round);
    if (round < 2) await flush();
  }
  return { errors, closed: await attempt(() => disk.close()) };
}

function expectKnown(found: Uint8Array, known: Int16Array, base: number): void {
  for (let i = 0; i < found.length; i++) {
    if (known[i] === unknown || known[i] === found[i]) continue;
    expect.fail(`byte ${base + i} is ${found[i]}, not ${known[i]}`);
  }
}

/** Runs the scenario on a storage with `faults`; returns the storage, for its counts. */
async function check(setup: Setup, faults: FaultyStorageOptions): Promise<number> {
  const memory = await created(setup);
  const expected = new Expected();
  if (setup.backing) for (const array of [expected.now, expected.flushed]) array.set(baseBytes);
  const faulty = new FaultyStorage(memory, faults);
  let disk: Disk;
  try {
    disk = await open(faulty as WritableStorage & FaultyStorage, true);
  } catch (error) {
    expect(error).toBeInstanceOf(PlatterError);
    return 1;
  }
  const { errors, closed } = await run(disk, expected);
  for (const error of errors) expect(error).toBeInstanceOf(PlatterError);

  const after = await open(memory, false);
  const { corruptions, checkErrors, problems } = await after.image.check!({});
  const texts = problems.filter(({ kind }) => kind !== "leak").map(({ message }) => message);
  expect({ corruptions, checkErrors }, texts.join("\n")).toEqual({
    corruptions: 0,
    checkErrors: 0,
  });
  const found = new Uint8Array(after.size);
  await after.read(0, found);
  expectKnown(found, expected.flushed, 0);
  if (closed) expectKnown(found, expected.now, 0);
  await after.close();
  return errors.length;
}

let runs = 0;

afterAll(() => {
  process.stdout.write(`failing storages: ${runs} runs\n`);
});

describe.each(Object.keys(setups))("%s", (name) => {
  const setup = setups[name]!;

  test("nothing fails without faults", async () => {
    expect(await check(setup, {})).toBe(0);
  });

  const kinds: ReadonlyArray<StorageCall["kind"]> = ["read", "write", "flush", "truncate", "zero"];
  test.each(kinds.flatMap((on) => [[on, false] as const, [on, true] as const]))(
    "a %s that fails (all later ones too: %o)",
    async (on, andAfter) => {
      const memory = await created(setup);
      const counter = new FaultyStorage(memory);
      await run(await open(counter as WritableStorage & FaultyStorage, true), new Expected()).catch(
        () => undefined,
      );
      const calls = counter.calls[on];
      const step = Math.max(1, Math.floor(calls / 150));
      let failed = 0;
      for (let nth = 1; nth <= calls; nth += step) {
        runs++;
        try {
          failed += await check(setup, { faults: [{ on, nth, andAfter }] });
        } catch (error) {
          throw new Error(`${on} number ${nth} of ${calls}`, { cause: error });
        }
      }
      // A host that cannot give space back, or shorten a file, fails nothing.
      if (calls > 0 && on !== "zero" && on !== "truncate") expect(failed).toBeGreaterThan(0);
    },
  );

  test("a disk that fills up", async () => {
    let failed = 0;
    for (let freeSpace = 0; freeSpace < 900 * KiB; freeSpace += 12 * KiB) {
      runs++;
      try {
        failed += await check(setup, { freeSpace });
      } catch (error) {
        throw new Error(`${freeSpace} bytes free`, { cause: error });
      }
    }
    expect(failed).toBeGreaterThan(0);
  });
});
