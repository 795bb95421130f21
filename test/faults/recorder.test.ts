/**
 * Crashes: what a scenario does to a storage is recorded, and for each prefix of it, and for samples
 * of the orders in which writes between two flushes may reach the disk, the file is rebuilt and
 * opened. It must be refused as unfinished, or be without corruption and hold everything that had
 * been flushed. Samples are drawn from a fixed seed; a failure names the crash point.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { portableCodecs } from "../../src/codec/index.ts";
import { convert } from "../../src/commands/index.ts";
import type { Disk } from "../../src/disk/index.ts";
import { PlatterError } from "../../src/errors.ts";
import { formatNamed, openDisk, type FormatOptionValues } from "../../src/formats/index.ts";
import { expectEqual } from "../../src/formats/expectations.test-kit.ts";
import { JitterStorage } from "../../src/formats/jitter.test-kit.ts";
import {
  MemoryStorage,
  RecordingStorage,
  applyRecorded,
  type Recorded,
  type StorageProvider,
} from "../../src/storage/index.ts";
import { peer } from "../peers.ts";

/** Bytes that are on stable storage once so many entries of the log are. */
interface Promised {
  readonly entries: number;
  readonly at: number;
  readonly bytes: Uint8Array;
  /** Overwritten, zeroed or cut off from that entry on: then either content will do. */
  until: number;
}

/** Changes that a bitmap has to know of, unless it says itself that it does not. */
interface Tracked {
  readonly bitmap: string;
  readonly start: number;
  readonly end: number;
  /** Changes of the log before the first that it is about. */
  readonly entries: number;
}

/** What a snapshot keeps, once so many entries of the log are on stable storage. */
interface Kept {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly entries: number;
  /** Being deleted from that entry on. */
  until: number;
}

/** A scenario under way: a disk on a recorded storage, and what it has promised. */
class Scenario {
  readonly storage: RecordingStorage;
  readonly before: MemoryStorage;
  readonly base: MemoryStorage | undefined;
  readonly promised: Promised[] = [];
  readonly tracked: Tracked[] = [];
  readonly kept: Kept[] = [];
  /** Bitmaps that follow what is written. */
  tracking: string[] = [];
  /** The image may be dirty. */
  isLazy = false;
  private unflushed: Array<Pick<Promised, "at" | "bytes">> = [];
  disk!: Disk;

  constructor(before: MemoryStorage, base?: MemoryStorage) {
    this.before = before;
    this.base = base;
    this.storage = new RecordingStorage(before.clone("image"));
  }

  async open(cacheSize?: number): Promise<void> {
    this.disk = await openDisk(new JitterStorage(this.storage, 0), this.options(true, cacheSize));
  }

  options(writable: boolean, cacheSize?: number) {
    return {
      writable,
      format: "qcow2",
      codecs: portableCodecs,
      references: () => Promise.resolve(this.base!.clone("base")),
      ...(cacheSize !== undefined && { cacheSize }),
    };
  }

  async write(at: number, length: number, fill: number): Promise<void> {
    this.overwrites(at, at + length);
    const entries = this.storage.log.length;
    for (const bitmap of this.tracking) {
      this.tracked.push({ bitmap, start: at, end: at + length, entries });
    }
    const bytes = new Uint8Array(length).fill(fill);
    await this.disk.write(at, bytes);
    this.unflushed.push({ at, bytes });
  }

  async compressed(at: number, length: number, fill: number): Promise<void> {
    this.overwrites(at, at + length);
    const bytes = new Uint8Array(length).fill(fill);
    await this.disk.writeCompressed(at, bytes);
    this.unflushed.push({ at, bytes });
  }

  async zero(at: number, length: number, how: "zero" | "keep" | "discard"): Promise<void> {
    this.overwrites(at, at + length);
    if (how === "discard") await this.disk.discard(at, length);
    else await this.disk.writeZeroes(at, length, { unmap: how === "zero" });
    this.unflushed.push({ at, bytes: new Uint8Array(length) });
  }

  async resize(size: number): Promise<void> {
    if (size < this.disk.size) this.overwrites(size, this.disk.size);
    await this.disk.resize(size);
  }

  /** All that the guest sees. */
  private async contents(): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.disk.size);
    await this.disk.read(0, bytes);
    return bytes;
  }

  async keep(name: string): Promise<void> {
    const bytes = await this.contents();
    const snapshots = await this.disk.image.snapshots!();
    await snapshots.create({ name, date: { seconds: 1, nanoseconds: 2 } });
    this.kept.push({ name, bytes, entries: this.storage.log.length, until: Infinity });
  }

  async forget(name: string): Promise<void> {
    const kept = this.kept.findLast((one) => one.name === name)!;
    kept.until = this.storage.log.length;
    await (await this.disk.image.snapshots!()).remove({ name });
  }

  async returnTo(name: string): Promise<void> {
    this.overwrites(0, Infinity);
    await (await this.disk.image.snapshots!()).apply({ name });
    const { bytes } = this.kept.findLast((one) => one.name === name)!;
    this.promised.push({ entries: this.storage.log.length, at: 0, bytes, until: Infinity });
  }

  async flush(): Promise<void> {
    await this.disk.flush();
    const entries = this.storage.log.length;
    for (const piece of this.unflushed) this.promised.push({ ...piece, entries, until: Infinity });
    this.unflushed = [];
  }

  /** From now on nothing is promised of what lies in the range. */
  private overwrites(start: number, end: number): void {
    const touches = ({ at, bytes }: Pick<Promised, "at" | "bytes">) =>
      at < end && start < at + bytes.length;
    this.unflushed = this.unflushed.filter((piece) => !touches(piece));
    for (const piece of this.promised) {
      if (touches(piece)) piece.until = Math.min(piece.until, this.storage.log.length);
    }
  }
}

/** Counts of what has been checked, for the log. */
const totals = { prefixes: 0, reordered: 0, refused: 0, byQemu: 0, bitmaps: 0, dirty: 0 };

/** A generator of numbers from 0 up to 1, the same in each run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Checks each prefix of the recording, and samples of what may be on the disk in between. */
async function checkAllCrashes(scenario: Scenario, creating: boolean): Promise<void> {
  const { log } = scenario.storage;
  const next = random(log.length);
  const state = new MemoryStorage({ name: "crashed" });
  await copyInto(scenario.before, state);
  let stable = { entries: 0, state: state.clone() };
  for (let n = 0; n <= log.length; n++) {
    const entry = log[n - 1];
    if (entry !== undefined) await applyRecorded(entry, state);
    totals.prefixes++;
    await checkCrash(scenario, state, {
      name: `after ${n} of ${log.length}`,
      n,
      stable: n,
      creating,
    });
    if (n % 97 === 41) await checkByQemu(scenario, state);
    const ends = n === log.length || log[n]?.kind === "flush";
    if (!ends) continue;
    const samples = n - stable.entries > 1 ? 6 * inject("effort") : 0;
    for (let i = 0; i < samples; i++) {
      const torn = stable.state.clone();
      const upTo = stable.entries + Math.ceil(next() * (n - stable.entries));
      const keep = next();
      for (const change of log.slice(stable.entries, upTo)) {
        for (const piece of pieces(change)) if (next() < keep) await applyRecorded(piece, torn);
      }
      totals.reordered++;
      const name = `sample ${i} of the changes ${stable.entries} to ${upTo}`;
      const point = { name, n: upTo, stable: stable.entries, creating };
      await checkCrash(scenario, torn, point);
      if (i === 0 && totals.reordered % 20 === 0) await checkByQemu(scenario, torn);
    }
    stable = { entries: n + 1, state: state.clone() };
  }
}

async function copyInto(from: MemoryStorage, to: MemoryStorage): Promise<void> {
  if (from.size > 0) await to.write(0, from.toBytes());
}

/** A disk writes whole sectors, but not necessarily all of a write. */
function pieces(entry: Recorded): Recorded[] {
  if (entry.kind !== "write") return [entry];
  const parts: Recorded[] = [];
  for (let at = 0; at < entry.bytes.length;) {
    const end = Math.min(entry.bytes.length, at + 512 - ((entry.offset + at) % 512));
    parts.push({ kind: "write", offset: entry.offset + at, bytes: entry.bytes.subarray(at, end) });
    at = end;
  }
  return parts;
}

interface CrashPoint {
  readonly name: string;
  /** Changes of the log that may have been applied. */
  readonly n: number;
  /** Changes that certainly have. */
  readonly stable: number;
  readonly creating: boolean;
}

async function checkCrash(
  scenario: Scenario,
  crashed: MemoryStorage,
  point: CrashPoint,
): Promise<void> {
  const file = await repairedIfDirty(scenario, crashed);
  let disk: Disk;
  try {
    disk = await openDisk(new JitterStorage(file, 0), scenario.options(false));
  } catch (error) {
    // The placeholder header may be missing, or its feature name be cut off by the crash.
    const refusals = ["E_UNFINISHED", "E_UNKNOWN_FORMAT", "E_UNSUPPORTED_FEATURE"];
    const refused =
      point.creating && error instanceof PlatterError && refusals.includes(error.code);
    if (!refused) throw new Error(point.name, { cause: error });
    totals.refused++;
    return;
  }
  const { corruptions, checkErrors, problems } = await disk.image.check!({});
  const texts = problems.filter(({ kind }) => kind !== "leak").map(({ message }) => message);
  expect({ corruptions, checkErrors }, [point.name, ...texts].join("\n")).toEqual({
    corruptions: 0,
    checkErrors: 0,
  });
  await checkTracked(scenario, disk, point);
  for (const { entries, until, at, bytes } of scenario.promised) {
    if (entries > point.stable || until < point.n) continue;
    const found = new Uint8Array(bytes.length);
    await disk.read(at, found);
    try {
      expectEqual(found, bytes, at);
    } catch (error) {
      throw new Error(`${point.name}: flushed data is lost`, { cause: error });
    }
  }
  await disk.close();
  await checkKept(scenario, file, point);
}

/** With lazy refcounts an image may be dirty: opening it for writing has to repair it. */
async function repairedIfDirty(scenario: Scenario, file: MemoryStorage): Promise<MemoryStorage> {
  const header = new Uint8Array(80);
  await file.read(0, header);
  const version = new DataView(header.buffer).getUint32(4);
  if (!scenario.isLazy || version < 3 || (header[79]! & 1) === 0) return file;
  const copy = file.clone("repaired");
  const disk = await openDisk(new JitterStorage(copy, 0), scenario.options(true));
  await disk.close();
  totals.dirty++;
  return copy;
}

/** Snapshots that had been made and not been deleted are there, with what they keep. */
async function checkKept(
  scenario: Scenario,
  file: MemoryStorage,
  point: CrashPoint,
): Promise<void> {
  for (const { name, bytes, entries, until } of scenario.kept) {
    if (entries > point.stable || until < point.n) continue;
    const options = { ...scenario.options(false), snapshot: { name } };
    const disk = await openDisk(new JitterStorage(file, 0), options);
    const found = new Uint8Array(disk.size);
    await disk.read(0, found);
    expect(found.length, `${point.name}: size of the snapshot ${name}`).toBe(bytes.length);
    try {
      expectEqual(found, bytes, 0);
    } catch (error) {
      throw new Error(`${point.name}: the snapshot ${name} is not what it was`, { cause: error });
    }
    await disk.close();
  }
}

/** A bitmap that does not say that it is inconsistent knows of all changes that may have happened. */
async function checkTracked({ tracked }: Scenario, disk: Disk, point: CrashPoint): Promise<void> {
  if (tracked.length === 0) return;
  const bitmaps = await disk.image.bitmaps!();
  for (const { name, inconsistent } of bitmaps.list()) {
    if (inconsistent) continue;
    totals.bitmaps++;
    const dirty: Array<readonly [start: number, end: number]> = [];
    for await (const { start, end } of bitmaps.dirty(name)) dirty.push([start, end]);
    for (const { bitmap, start, end, entries } of tracked) {
      if (bitmap !== name || entries >= point.n) continue;
      const known = dirty.some(([from, to]) => from <= start && end <= to);
      expect(known, `${point.name}: ${name} does not know of ${start} to ${end}`).toBe(true);
    }
  }
}

const qemuImg = peer("qemu-img");
let directory = "";

/** The file as the real qemu-img sees it: clean, leaking, or refused as unfinished. */
async function checkByQemu(scenario: Scenario, file: MemoryStorage): Promise<void> {
  if (qemuImg === undefined || scenario.isLazy) return;
  await writeFile(join(directory, "crashed"), file.toBytes());
  if (scenario.base !== undefined) {
    await writeFile(join(directory, "base"), scenario.base.toBytes());
  }
  const { status, stdout, stderr } = await qemuImg.attempt(["check", "-f", "qcow2", "crashed"], {
    cwd: directory,
  });
  totals.byQemu++;
  if (stderr.includes("Unsupported qcow2 feature") || stderr.includes("not in qcow2 format"))
    return;
  expect([0, 3], stdout + stderr).toContain(status);
}

/** An image in memory, made by us, with the disk of `size` bytes all unwritten. */
async function created(
  size: number,
  values: FormatOptionValues,
  backing?: string,
): Promise<MemoryStorage> {
  const storage = new MemoryStorage({ name: "image" });
  const made = await formatNamed("qcow2", "create").create!(storage, {
    size,
    values,
    ...(backing !== undefined && { backing: { name: "base", format: backing } }),
  });
  await made.finish({ durable: false });
  return storage;
}

const KiB = 1024;
const small = { cluster_size: 512, refcount_bits: 64 };

const scenarios: Readonly<Record<string, () => Promise<Scenario>>> = {
  "an overlay that is emptied after a commit, and gets another name behind it": async () => {
    const base = new MemoryStorage({ name: "base" });
    await base.write(0, new Uint8Array(512 * KiB).fill(9));
    const scenario = new Scenario(await created(512 * KiB, { cluster_size: 2 * KiB }, "raw"), base);
    await scenario.open();
    // The base has all of it already.
    for (let i = 0; i < 8; i++) await scenario.write((i * 53 * 1000) % (500 * KiB), 5000, 9);
    await scenario.flush();
    await scenario.disk.image.writer!.makeEmpty!();
    await scenario.flush();
    await scenario.write(100 * KiB, 3000, 1);
    await scenario.disk.image.writer!.setBacking!({ name: "elsewhere", format: "raw" });
    await scenario.write(300 * KiB, 3000, 2);
    await scenario.flush();
    await scenario.disk.close();
    return scenario;
  },
  async "guest writes with flushes"() {
    const scenario = new Scenario(await created(1024 * KiB, { cluster_size: 4 * KiB }));
    await scenario.open();
    for (let i = 0; i < 40; i++) {
      await scenario.write((i * 37 * 1000) % (1000 * KiB), 500 + i * 400, 1 + i);
      if (i % 3 === 2) await scenario.flush();
    }
    await scenario.disk.close();
    return scenario;
  },
  async "copy-on-write over a backing image"() {
    const base = MemoryStorage.from(new Uint8Array(300 * KiB).fill(200), "base");
    const scenario = new Scenario(await created(512 * KiB, { cluster_size: 2 * KiB }, "raw"), base);
    await scenario.open();
    for (let i = 0; i < 30; i++) {
      await scenario.write((i * 53 * 1000) % (500 * KiB), 700 + i * 100, 1 + i);
      if (i % 4 === 3) await scenario.flush();
      if (i % 5 === 4) await scenario.zero(i * 10 * KiB, 9000, "zero");
    }
    await scenario.flush();
    await scenario.disk.close();
    return scenario;
  },
  async "zeroes and discards, and their clusters used again"() {
    const scenario = new Scenario(await created(256 * KiB, { cluster_size: 4 * KiB }));
    await scenario.open();
    for (let round = 0; round < 6; round++) {
      await scenario.write(0, 128 * KiB, 1 + round);
      await scenario.write(192 * KiB, 20 * KiB, 101 + round);
      await scenario.flush();
      await scenario.zero(16 * KiB, 32 * KiB, "discard");
      await scenario.zero(64 * KiB, 16 * KiB, "zero");
      await scenario.zero(96 * KiB, 8 * KiB, "keep");
      if (round % 2 === 0) await scenario.flush();
      await scenario.write(130 * KiB, 50 * KiB, 51 + round);
      if (round % 3 === 0) await scenario.flush();
    }
    await scenario.disk.close();
    return scenario;
  },
  async "compressed writes, written over and zeroed"() {
    const scenario = new Scenario(await created(128 * KiB, { cluster_size: 4 * KiB }));
    await scenario.open();
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 16; i++) await scenario.compressed(i * 4 * KiB, 4 * KiB, 1 + i + round);
      await scenario.flush();
      await scenario.write(5 * KiB, 10 * KiB, 77 + round);
      await scenario.zero(24 * KiB, 8 * KiB, "zero");
      await scenario.flush();
      await scenario.write(80 * KiB, 20 * KiB, 99 + round);
    }
    await scenario.disk.close();
    return scenario;
  },
  async "subclusters over a backing image"() {
    const base = MemoryStorage.from(new Uint8Array(300 * KiB).fill(200), "base");
    const values = { cluster_size: 16 * KiB, extended_l2: true, preallocation: "metadata" };
    const scenario = new Scenario(await created(200 * KiB, values, "raw"), base);
    await scenario.open();
    await scenario.resize(512 * KiB);
    for (let i = 0; i < 30; i++) {
      await scenario.write((i * 53 * 1000) % (450 * KiB), 300 + i * 300, 1 + i);
      if (i % 4 === 3) await scenario.flush();
      if (i % 5 === 4) await scenario.zero(i * 10 * KiB, 9000, i % 2 === 0 ? "zero" : "keep");
      if (i % 9 === 8) await scenario.zero(i * 16 * KiB, 16 * KiB, "discard");
      if (i % 7 === 6) await scenario.compressed(400 * KiB, 16 * KiB, 101 + i);
    }
    await scenario.flush();
    await scenario.disk.close();
    return scenario;
  },
  async "growing and shrinking"() {
    const scenario = new Scenario(await created(64 * KiB, { cluster_size: 512 }));
    await scenario.open();
    for (const [i, size] of [64, 200, 100, 700, 30, 400, 2000].entries()) {
      await scenario.resize(size * KiB);
      await scenario.write((size / 2) * KiB, (size / 4) * KiB, 1 + i);
      await scenario.write(0, 10 * KiB, 101 + i);
      await scenario.flush();
    }
    await scenario.disk.resize(2200 * KiB, { preallocation: "metadata" });
    await scenario.disk.resize(2400 * KiB, { preallocation: "falloc" });
    await scenario.write(2100 * KiB, 200 * KiB, 55);
    await scenario.flush();
    await scenario.disk.close();
    return scenario;
  },
  async "a refcount table that outgrows its cluster"() {
    const scenario = new Scenario(await created(8192 * KiB, small));
    await scenario.open();
    for (let i = 0; i < 24; i++) {
      await scenario.write(i * 160 * KiB, 120 * KiB, 1 + i);
      if (i % 5 === 4) await scenario.flush();
    }
    await scenario.disk.close();
    return scenario;
  },
  async "a refcount block that another one counts"() {
    const scenario = new Scenario(await created(1024 * KiB, small));
    await scenario.open();
    // Up to the last cluster that its refcount block covers: what follows needs a new one.
    let at = 0;
    for (let place = 0; place % 64 !== 63; at += 512) {
      await scenario.write(at, 512, 1 + (at >> 9));
      for await (const { offset } of scenario.disk.extents({ start: at, end: at + 512 })) {
        place = offset! / 512;
      }
    }
    await scenario.zero(at - 512, 512, "keep");
    await scenario.zero(0, 512, "discard");
    await scenario.flush();
    await scenario.disk.close();
    await scenario.open();
    // Goes on from a place that is kept, so that the free cluster is left for the refcount block.
    await scenario.write(at - 512, 2048, 99);
    await scenario.flush();
    await scenario.disk.close();
    return scenario;
  },
  async "bitmaps added, merged, removed, and followed by writes"() {
    const scenario = new Scenario(await created(512 * KiB, { cluster_size: 512 }));
    await scenario.open();
    await scenario.write(0, 100 * KiB, 1);
    let bitmaps = await scenario.disk.image.bitmaps!();
    bitmaps.add("fine", { granularity: 512 });
    scenario.tracking = ["fine"];
    await scenario.write(20 * KiB, 5000, 2);
    await scenario.flush();
    await scenario.disk.close();
    for (let round = 0; round < 3; round++) {
      await scenario.open();
      bitmaps = await scenario.disk.image.bitmaps!();
      if (round === 0) {
        bitmaps.add("a bitmap whose name makes the directory long", { granularity: 65536 });
        scenario.tracking.push("a bitmap whose name makes the directory long");
      }
      await scenario.write(round * 150 * KiB, 30 * KiB, 3 + round);
      await scenario.flush();
      if (round === 1) {
        await bitmaps.merge("a bitmap whose name makes the directory long", "fine");
        bitmaps.add("short lived");
      }
      if (round === 2) await bitmaps.remove("short lived");
      await scenario.resize((600 + round * 10) * KiB);
      await scenario.write(400 * KiB, 3000 + round, 7 + round);
      await scenario.disk.close();
    }
    await scenario.open();
    bitmaps = await scenario.disk.image.bitmaps!();
    for (const { name } of bitmaps.list()) await bitmaps.remove(name);
    await scenario.disk.close();
    return scenario;
  },
  async "snapshots made, written over, applied and deleted"() {
    const scenario = new Scenario(await created(300 * KiB, { cluster_size: 4 * KiB }));
    await scenario.open();
    await scenario.write(0, 100 * KiB, 1);
    await scenario.compressed(200 * KiB, 4 * KiB, 2);
    await scenario.keep("one");
    await scenario.write(50 * KiB, 30 * KiB, 3);
    await scenario.zero(0, 20 * KiB, "discard");
    await scenario.flush();
    await scenario.keep("two");
    await scenario.write(10 * KiB, 3000, 4);
    await scenario.flush();
    await scenario.returnTo("one");
    await scenario.write(90 * KiB, 5000, 5);
    await scenario.forget("one");
    await scenario.write(250 * KiB, 9000, 6);
    await scenario.flush();
    await scenario.resize(400 * KiB);
    await scenario.keep("three");
    await scenario.returnTo("two");
    await scenario.forget("two");
    await scenario.forget("three");
    await scenario.flush();
    await scenario.disk.close();
    return scenario;
  },
  async "snapshots in an image with many small tables"() {
    const scenario = new Scenario(await created(256 * KiB, small));
    await scenario.open();
    await scenario.write(0, 150 * KiB, 1);
    await scenario.keep("one");
    await scenario.write(20 * KiB, 60 * KiB, 2);
    await scenario.flush();
    await scenario.returnTo("one");
    await scenario.forget("one");
    await scenario.flush();
    await scenario.disk.close();
    return scenario;
  },
  async "refcounts of other widths, and down to version 2 and back"() {
    const base = MemoryStorage.from(new Uint8Array(300 * KiB).fill(200), "base");
    const scenario = new Scenario(await created(256 * KiB, { cluster_size: 4096 }, "raw"), base);
    await scenario.open();
    const amend = (values: FormatOptionValues) =>
      scenario.disk.image.amend!({ values, resize: (size) => scenario.resize(size) });
    await scenario.write(0, 100 * KiB, 1);
    await scenario.zero(20 * KiB, 16 * KiB, "zero");
    await scenario.zero(60 * KiB, 4 * KiB, "keep");
    await scenario.flush();
    await scenario.keep("one");
    await scenario.write(150 * KiB, 30 * KiB, 2);
    await scenario.zero(160 * KiB, 8 * KiB, "zero");
    await scenario.flush();
    await amend({ refcount_bits: 64 });
    await scenario.write(200 * KiB, 30 * KiB, 3);
    await amend({ refcount_bits: 16 });
    await scenario.flush();
    await amend({ compat: "0.10" });
    await scenario.write(20 * KiB, 3000, 4);
    await scenario.flush();
    await amend({ compat: "1.1", refcount_bits: 8, lazy_refcounts: false });
    await scenario.write(100 * KiB, 5000, 5);
    await scenario.flush();
    await scenario.disk.close();
    return scenario;
  },
  async "lazy refcounts"() {
    const values = { cluster_size: 4096, lazy_refcounts: true };
    const scenario = new Scenario(await created(512 * KiB, values));
    scenario.isLazy = true;
    await scenario.open();
    for (let i = 0; i < 20; i++) {
      await scenario.write((i * 37 * 1000) % (400 * KiB), 500 + i * 400, 1 + i);
      if (i % 3 === 2) await scenario.flush();
      if (i % 5 === 4) await scenario.zero((i * 31 * 1000) % (400 * KiB), 9000, "zero");
    }
    await scenario.keep("one");
    await scenario.write(100 * KiB, 50 * KiB, 99);
    await scenario.flush();
    await scenario.resize(600 * KiB);
    await scenario.returnTo("one");
    await scenario.forget("one");
    await scenario.flush();
    await scenario.disk.close();
    await scenario.open();
    await scenario.write(0, 200 * KiB, 50);
    await scenario.flush();
    await scenario.disk.close();
    return scenario;
  },
  async "L2 tables written early for lack of memory"() {
    const scenario = new Scenario(await created(1024 * KiB, { cluster_size: 512 }));
    await scenario.open(1);
    for (let i = 0; i < 60; i++) {
      await scenario.write((i * 71 * 1000) % (1000 * KiB), 600 + i * 20, 1 + i);
      if (i % 7 === 6) await scenario.zero((i * 31 * 1000) % (900 * KiB), 5000, "discard");
      if (i % 15 === 14) await scenario.flush();
    }
    await scenario.disk.close();
    return scenario;
  },
};

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "platter-crash-"));
});

afterAll(async () => {
  await rm(directory, { recursive: true });
  const { prefixes, reordered, refused, byQemu, bitmaps, dirty } = totals;
  process.stdout.write(
    `crash points: ${prefixes} prefixes and ${reordered} samples in between, ${refused} of them ` +
      `refused as unfinished; ${byQemu} also looked at by qemu-img; ${bitmaps} bitmaps compared; ` +
      `${dirty} dirty and repaired\n`,
  );
});

describe("a crash at any moment", () => {
  test.for(Object.keys(scenarios))("%s", async (name) => {
    const scenario = await scenarios[name]!();
    expect(scenario.promised.length).toBeGreaterThan(0);
    await checkAllCrashes(scenario, false);
  });

  const modes = ["off", "metadata", "falloc", "full"];
  const creations = modes.flatMap<readonly [size: number, values: FormatOptionValues]>(
    (preallocation) => [
      [1024 * KiB, { preallocation }],
      [700 * KiB, { preallocation, ...small }],
      [512 * KiB, { preallocation, cluster_size: 4096, compat: "0.10" }],
      [512 * KiB, { preallocation, cluster_size: 16 * KiB, extended_l2: true }],
    ],
  );
  test.for(creations)("while creating %d bytes with %o", async ([size, values]) => {
    const scenario = new Scenario(new MemoryStorage());
    const made = await formatNamed("qcow2", "create").create!(scenario.storage, { size, values });
    await made.finish({ durable: true });
    await checkAllCrashes(scenario, true);
  });

  test.for([false, true])("while converting, compressed: %o", async (compress) => {
    const source = MemoryStorage.from(
      new Uint8Array(400 * KiB).fill(7, 10 * KiB, 300 * KiB),
      "source",
    );
    const scenario = new Scenario(new MemoryStorage());
    const provider: StorageProvider = {
      open: async (name) => {
        if (name === "source") return source.clone("source");
        throw new PlatterError("E_NOT_FOUND", `${name} does not exist`);
      },
      create: async () => ({
        storage: new JitterStorage(scenario.storage, 0),
        publish: () => Promise.resolve(),
        discard: () => Promise.resolve(),
      }),
      exists: async (name) => name === "source",
      resolve: (reference) => reference,
    };
    await convert(
      {
        sources: ["source"],
        target: "target",
        targetFormat: "qcow2",
        targetOptions: { cluster_size: 4096 },
        compress,
        sync: true,
      },
      { provider, codecs: portableCodecs },
    );
    const entries = scenario.storage.log.length;
    scenario.promised.push({ entries, at: 0, bytes: source.toBytes(), until: Infinity });
    await checkAllCrashes(scenario, true);
  });
});

describe("a crash while an image is repaired", () => {
  /** Damage that a repair finds, in an image with clusters of 4 KiB. */
  const damages: Readonly<Record<string, (bytes: DataView) => void>> = {
    "counts in place": (bytes) => {
      bytes.setUint16(2 * 4096 + 2 * 8, 3);
      bytes.setUint16(2 * 4096 + 2 * 12, 2);
      // Two entries that share a cluster, which is counted once.
      bytes.setBigUint64(4 * 4096 + 8, bytes.getBigUint64(4 * 4096));
    },
    "all counts anew": (bytes) => {
      bytes.setUint16(2 * 4096 + 2 * 8, 0);
    },
    flags: (bytes) => {
      bytes.setUint8(4 * 4096 + 16, 0);
      bytes.setUint8(3 * 4096, 0);
    },
  };

  test.for(Object.keys(damages))("%s", async (name) => {
    const made = await created(256 * KiB, { cluster_size: 4096 });
    const filling = new Scenario(made);
    await filling.open();
    await filling.write(0, 100 * KiB, 1);
    await filling.disk.close();
    const bytes = new MemoryStorage({ name: "filled" });
    await copyInto(made, bytes);
    for (const entry of filling.storage.log) await applyRecorded(entry, bytes);
    const image = bytes.toBytes();
    damages[name]!(new DataView(image.buffer));
    const damaged = MemoryStorage.from(image, "damaged");
    const before = await verdict(damaged);
    expect(before.corruptions).toBeGreaterThan(0);

    const storage = new RecordingStorage(damaged.clone("image"));
    const options = { writable: true, repair: true, format: "qcow2", codecs: portableCodecs };
    const disk = await openDisk(new JitterStorage(storage, 0), options);
    await disk.image.repair!({ what: "all" });
    await disk.close();
    const state = damaged.clone("crashed");
    for (const entry of storage.log) {
      await applyRecorded(entry, state);
      totals.prefixes++;
      // No worse than before, and the guest sees what it saw.
      expect((await verdict(state)).corruptions).toBeLessThanOrEqual(before.corruptions);
    }
    expect(await verdict(state)).toEqual({ corruptions: 0, leaks: 0, data: before.data });
  });

  async function verdict(file: MemoryStorage) {
    const disk = await openDisk(file.clone("looked at"), { format: "qcow2" });
    const { corruptions, leaks } = await disk.image.check!({});
    const data = new Uint8Array(disk.size);
    await disk.read(0, data);
    await disk.close();
    return { corruptions, leaks, data: String(data.reduce((sum, byte, i) => sum + byte * i, 0)) };
  }
});
