/**
 * Crashes of an image whose data is in a file of its own: each file keeps what was flushed to it, and of
 * the rest any part. Whatever is left must be without corruption, hold what had been flushed by the
 * guest, and never show a place that was not written. Samples are drawn from a fixed seed.
 */
import { describe, expect, inject, test } from "vitest";
import { portableCodecs } from "../../src/codec/index.ts";
import type { Disk } from "../../src/disk/index.ts";
import { formatNamed, openDisk } from "../../src/formats/index.ts";
import { expectEqual } from "../../src/formats/expectations.test-kit.ts";
import { JitterStorage } from "../../src/formats/jitter.test-kit.ts";
import {
  MemoryStorage,
  RecordingStorage,
  applyRecorded,
  type Recorded,
} from "../../src/storage/index.ts";

const KiB = 1024;

interface Entry {
  readonly file: "image" | "data";
  readonly change: Recorded;
}

/** Two recorded files, and one log of what happened to both. */
class Scenario {
  readonly before: { readonly image: MemoryStorage; readonly data: MemoryStorage };
  readonly raw: boolean;
  readonly entries: Entry[] = [];
  readonly promised: Array<{ readonly n: number; readonly bytes: Uint8Array }> = [];
  private readonly recorders;
  private readonly seen = { image: 0, data: 0 };
  disk!: Disk;
  bytes: Uint8Array;

  constructor(image: MemoryStorage, data: MemoryStorage, size: number, raw: boolean) {
    this.before = { image, data };
    this.raw = raw;
    this.bytes = new Uint8Array(size);
    this.recorders = {
      image: new Ordered(image.clone("image"), () => this.note()),
      data: new Ordered(data.clone("data"), () => this.note()),
    };
  }

  async open(): Promise<void> {
    this.disk = await openDisk(new JitterStorage(this.recorders.image, 0), {
      writable: true,
      codecs: portableCodecs,
      references: () => Promise.resolve(new JitterStorage(this.recorders.data, 0)),
    });
  }

  /** Takes over what the recorders have logged since. */
  private note(): void {
    for (const file of ["data", "image"] as const) {
      const { log } = this.recorders[file];
      for (; this.seen[file] < log.length; this.seen[file]++) {
        this.entries.push({ file, change: log[this.seen[file]]! });
      }
    }
  }

  async write(at: number, length: number, fill: number): Promise<void> {
    await this.disk.write(at, new Uint8Array(length).fill(fill));
    this.bytes.fill(fill, at, at + length);
  }

  async zero(at: number, length: number, how: "unmap" | "keep" | "discard"): Promise<void> {
    if (how === "discard") await this.disk.discard(at, length);
    else await this.disk.writeZeroes(at, length, { unmap: how === "unmap" });
    this.bytes.fill(0, at, at + length);
  }

  /** Everything up to here has to survive, unless it is overwritten. */
  async flush(): Promise<void> {
    await this.disk.flush();
    this.note();
    this.promised.push({ n: this.entries.length, bytes: this.bytes.slice() });
  }
}

/** Tells at once, in order, what it has recorded. */
class Ordered extends RecordingStorage {
  private readonly recorded: () => void;
  constructor(inner: MemoryStorage, recorded: () => void) {
    super(inner);
    this.recorded = recorded;
  }
  protected override async around<T>(
    call: Parameters<RecordingStorage["around"]>[0],
    run: () => Promise<T>,
  ): Promise<T> {
    const result = super.around(call, run);
    // A flush is logged when it is called.
    this.recorded();
    const done = await result;
    this.recorded();
    return done;
  }
}

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Which of the first `n` entries are on stable storage: those before a flush of their file. */
function stable(entries: readonly Entry[], n: number): boolean[] {
  const flushed = { image: false, data: false };
  const found: boolean[] = [];
  for (let i = n - 1; i >= 0; i--) {
    const { file, change } = entries[i]!;
    found[i] = flushed[file];
    if (change.kind === "flush") flushed[file] = true;
  }
  return found;
}

async function checkAllCrashes(scenario: Scenario): Promise<number> {
  const { entries } = scenario;
  const next = random(entries.length);
  let checked = 0;
  for (let n = 0; n <= entries.length; n++) {
    const survives = stable(entries, n);
    const samples = n % 3 === 0 ? 2 * inject("effort") : 0;
    for (let sample = 0; sample <= samples; sample++) {
      const files = {
        image: scenario.before.image.clone("image"),
        data: scenario.before.data.clone("data"),
      };
      const keep = sample === 0 ? 1 : next();
      for (let i = 0; i < n; i++) {
        const { file, change } = entries[i]!;
        if (survives[i] === true || next() < keep) await applyRecorded(change, files[file]);
      }
      checked++;
      await checkCrash(scenario, files, n, `sample ${sample} after ${n} of ${entries.length}`);
    }
  }
  return checked;
}

async function checkCrash(
  scenario: Scenario,
  { image, data }: { readonly image: MemoryStorage; readonly data: MemoryStorage },
  n: number,
  name: string,
): Promise<void> {
  const disk = await openDisk(image, {
    codecs: portableCodecs,
    references: () => Promise.resolve(data),
  });
  const { corruptions, checkErrors, problems } = await disk.image.check!({});
  const texts = problems.filter(({ kind }) => kind !== "leak").map(({ message }) => message);
  expect({ corruptions, checkErrors }, [name, ...texts].join("\n")).toEqual({
    corruptions: 0,
    checkErrors: 0,
  });
  const found = new Uint8Array(disk.size);
  await disk.read(0, found);
  const last = scenario.promised.findLastIndex((promise) => promise.n <= n);
  const old = scenario.promised[last]?.bytes ?? new Uint8Array(disk.size);
  // Until the next flush either may be there, and what was in between.
  const later = scenario.promised[last + 1]?.bytes ?? scenario.bytes;
  for (let at = 0; at < found.length; at++) {
    if (old[at] === later[at] && found[at] !== old[at]) {
      expectEqual(found.subarray(at, at + 1), old.subarray(at, at + 1), at);
    }
  }
  // What had been flushed and nothing since: the raw file by itself is the disk.
  if (scenario.raw && scenario.promised[last]?.n === n) {
    expectEqual(data.toBytes().subarray(0, disk.size), old, 0);
  }
  await disk.close();
}

async function newScenario(raw: boolean): Promise<Scenario> {
  const size = 256 * KiB;
  const image = new MemoryStorage({ name: "image" });
  const data = new MemoryStorage({ name: "data" });
  const made = await formatNamed("qcow2", "create").create!(image, {
    size,
    values: { data_file: "data", data_file_raw: raw, cluster_size: 4 * KiB },
    dataStorage: data,
  });
  await made.finish({ durable: false });
  return new Scenario(image, data, size, raw);
}

describe("a crash leaves both files in step", () => {
  test.each([false, true])("writes, zeroes and discards; raw %s", async (raw) => {
    const run = await newScenario(raw);
    await run.open();
    for (let i = 0; i < 20; i++) {
      // Each range is touched once between two flushes, so that nothing lies in between.
      await run.write(i * 12 * KiB, 9000, 1 + i);
      if (i > 2)
        await run.zero(
          (i - 3) * 12 * KiB,
          4 * KiB,
          (["unmap", "keep", "discard"] as const)[i % 3]!,
        );
      if (i % 2 === 1) await run.flush();
    }
    await run.flush();
    await run.disk.close();
    expect(await checkAllCrashes(run)).toBeGreaterThan(100);
  });
});
