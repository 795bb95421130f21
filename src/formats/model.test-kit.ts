/**
 * A disk image against a plain byte array: the same operations on both, and the same bytes expected.
 * Shared by the model tests here and by those that let QEMU look at the result.
 */
import { assert } from "vitest";
import { alignDown, alignUp } from "../bytes/index.ts";
import type { Codecs } from "../codec/index.ts";
import type { Disk } from "../disk/index.ts";
import { MemoryStorage, type WritableStorage } from "../storage/index.ts";
import { expectCleanReport, expectEqual, firstDifference } from "./expectations.test-kit.ts";
import type { FormatOptionValues } from "./format.ts";
import { JitterStorage } from "./jitter.test-kit.ts";
import type { ModelBacking, ModelSetup } from "./model-setups.test-kit.ts";
import type { Request, Step } from "./model-steps.test-kit.ts";
import { encryptionServices, openDisk, type DiskOptions } from "./open.ts";
import { formatNamed } from "./registry.ts";

/** What opens the encrypted images. */
export const modelPassword = "a model of a secret";

const secrets = (): Promise<Uint8Array> => Promise.resolve(new TextEncoder().encode(modelPassword));

/** What opening an image takes if it is encrypted. */
const unlocking = ({ encryption }: ModelSetup): Pick<DiskOptions, "secrets" | "runtime"> =>
  encryption === undefined ? {} : { secrets, runtime: { "encrypt.key-secret": "model" } };

/** A guest range and what a request makes of it; `undefined` bytes: nothing. */
interface Effect {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array | "zeros" | undefined;
}

/** What an image needs besides its own file. */
interface Behind {
  readonly base: MemoryStorage | undefined;
  readonly data: MemoryStorage;
  readonly dataFile: JitterStorage;
}

/** An image, and a byte array that has to be equal to it. */
export class Model {
  readonly setup: ModelSetup;
  /** What the guest has to see. */
  bytes: Uint8Array;
  disk: Disk;
  private readonly codecs: Codecs;
  private readonly storage: JitterStorage;
  private readonly behind: Behind;
  /** Granules of 512 bytes that have been changed since the bitmaps were added. */
  private changed = new Set<number>();
  /** What the snapshots keep, by name. */
  readonly kept = new Map<string, Uint8Array>();
  private writes = 0;

  private constructor(
    setup: ModelSetup,
    codecs: Codecs,
    storage: JitterStorage,
    behind: Behind,
    disk: Disk,
    bytes: Uint8Array,
  ) {
    this.setup = setup;
    this.codecs = codecs;
    this.storage = storage;
    this.behind = behind;
    this.disk = disk;
    this.bytes = bytes;
  }

  /** Makes the image in `inner`, which is empty, and opens it. */
  static async create(
    setup: ModelSetup,
    codecs: Codecs,
    inner: WritableStorage = new MemoryStorage({ name: "model" }),
    base?: WritableStorage,
    data: MemoryStorage = new MemoryStorage({ name: "data" }),
  ): Promise<Model> {
    const size = setup.sectors * 512;
    const storage = new JitterStorage(inner, setup.jitter);
    const bytes = new Uint8Array(size);
    const dataFile = new JitterStorage(data, setup.jitter);
    const backing = setup.backing && (await createBacking(setup.backing, size, codecs, base));
    if (backing !== undefined) bytes.set(backing.bytes.subarray(0, size));
    const made = await formatNamed(setup.format, "create").create!(storage, {
      size,
      backing: setup.backing && { name: "base", format: setup.backing.format },
      values: createValues(setup),
      dataStorage: dataFile,
      encryption: await encryptionServices({ codecs, secrets }),
    });
    if (setup.bitmaps.length > 0) {
      const bitmaps = await made.image.bitmaps!();
      for (const granularity of setup.bitmaps) bitmaps.add(`of ${granularity}`, { granularity });
    }
    await made.finish({ durable: true });
    await made.image.close();
    const behind = { base: backing?.storage, data, dataFile };
    const disk = await openModel(setup, codecs, storage, behind);
    return new Model(setup, codecs, storage, behind, disk, bytes);
  }

  /** Takes one step and compares what can be compared. */
  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case "flush":
        return this.disk.flush();
      case "check":
        await this.disk.flush();
        return this.expectClean(this.disk);
      case "reopen":
        return this.reopen();
      case "resize":
        return this.resize(step.sectors * 512, step.mode);
      case "keep":
        return this.keep();
      case "restore":
        return this.restore(step.which);
      case "forget":
        return this.forget(step.which);
      case "apart":
        return this.takeApart(step.requests);
      case "together":
        return this.takeTogether(step.requests);
      default:
        return this.takeApart([step]);
    }
  }

  /** Compares everything, closes the image, and checks what is left behind. */
  async finish(): Promise<void> {
    await this.expectContents();
    await this.expectBitmaps(this.disk);
    await this.disk.flush();
    await this.expectClean(this.disk);
    await this.disk.close();
    await this.expectClosedClean();
    this.expectRaw();
  }

  /** The data file by itself is the disk, if it has to be. */
  private expectRaw(): void {
    if (this.setup.dataFile !== "raw") return;
    const raw = this.behind.data.toBytes();
    assert.isAtLeast(raw.length, this.bytes.length, "length of the data file");
    expectEqual(raw.subarray(0, this.bytes.length), this.bytes, 0);
  }

  private async reopen(): Promise<void> {
    await this.disk.close();
    await this.expectClosedClean();
    this.expectRaw();
    this.disk = await openModel(this.setup, this.codecs, this.storage, this.behind);
    await this.expectContents();
  }

  /** What is in the storage, without what is in our memory. */
  private async expectClosedClean(): Promise<void> {
    const { format, cacheSize } = this.setup;
    const disk = await openDisk(this.storage, {
      format,
      references: "ignore",
      codecs: this.codecs,
      ...unlocking(this.setup),
      ...(cacheSize !== undefined && { cacheSize }),
    });
    await this.expectClean(disk);
    await this.expectBitmaps(disk);
    await disk.close();
    await this.expectKept();
  }

  /** Each bitmap names exactly the granules that were changed. */
  private async expectBitmaps(disk: Disk): Promise<void> {
    const { bitmaps: granularities } = this.setup;
    if (granularities.length === 0) return;
    const bitmaps = await disk.image.bitmaps!();
    const usable = bitmaps.list().filter(({ inconsistent }) => !inconsistent);
    assert.equal(usable.length, granularities.length, "bitmaps that can be used");
    for (const { name, granularity } of bitmaps.list()) {
      const found = new Set<number>();
      for await (const { start, end } of bitmaps.dirty(name)) {
        for (let at = start; at < end; at += granularity) found.add(at / granularity);
      }
      const expected = new Set([...this.changed].map((at) => Math.floor((at * 512) / granularity)));
      // What is cut off is forgotten by the granule; a coarser one may be dirty for its sake.
      const missing = [...expected].filter((granule) => !found.has(granule));
      assert.deepEqual(missing, [], `changed, but clean in the bitmap ${name}`);
      if (granularity !== 512) continue;
      const extra = [...found].filter((granule) => !expected.has(granule));
      assert.deepEqual(extra, [], `not changed, but dirty in the bitmap ${name}`);
    }
  }

  private noteChange(start: number, end: number): void {
    for (let at = Math.floor(start / 512); at * 512 < end; at++) this.changed.add(at);
  }

  private async expectClean(disk: Disk): Promise<void> {
    const report = await disk.image.check?.({});
    if (report !== undefined) expectCleanReport(report);
  }

  /** The disk, read in one go, has to be the model. */
  async expectContents(): Promise<void> {
    assert.equal(this.disk.size, this.bytes.length, "size of the disk");
    const found = new Uint8Array(this.bytes.length);
    await this.disk.read(0, found);
    expectEqual(found, this.bytes, 0);
  }

  private async resize(size: number, mode: "off" | "metadata" | "falloc"): Promise<void> {
    const grows = size > this.bytes.length;
    const raw = this.setup.format === "raw";
    const { backing, extendedL2, encryption } = this.setup;
    const reserves =
      grows &&
      encryption === undefined &&
      (backing === undefined || extendedL2) &&
      !(raw && mode === "metadata");
    if (size === 0 && this.setup.bitmaps.length > 0) {
      // There is no way to store them.
      const refused = await this.disk.resize(0).then(
        () => false,
        () => true,
      );
      assert.isTrue(refused, "a disk without bytes has no bitmaps");
      return;
    }
    if (this.kept.size > 0 && this.setup.version === 2) {
      const code = await this.disk.resize(size).then(
        () => "none",
        (error: { code: string }) => error.code,
      );
      assert.equal(code, "E_UNSUPPORTED", "version 2 with snapshots");
      return;
    }
    await this.disk.resize(size, reserves ? { preallocation: mode } : {});
    this.changed = new Set([...this.changed].filter((at) => at * 512 < size));
    const before = this.bytes;
    this.bytes = new Uint8Array(size);
    this.bytes.set(before.subarray(0, size));
    await this.expectContents();
  }

  private async keep(): Promise<void> {
    const snapshots = await this.disk.image.snapshots!();
    const name = `snapshot ${++this.writes}`;
    try {
      await snapshots.create({ name, date: { seconds: this.writes, nanoseconds: 0 } });
    } catch (error) {
      // There are images that have no room for them: then nothing has changed.
      const { code = "" } = error as { code?: string };
      const expected = this.setup.dataFile === undefined ? "E_LIMIT" : "E_UNSUPPORTED";
      const fits = expected === "E_LIMIT" && this.setup.refcountBits > 8;
      if (code !== expected || fits) throw error;
      return this.expectContents();
    }
    this.kept.set(name, this.bytes.slice());
  }

  private async restore(which: number): Promise<void> {
    const [name, bytes] = [...this.kept][Math.floor(which * this.kept.size)] ?? [];
    if (name === undefined || bytes === undefined) return;
    const snapshots = await this.disk.image.snapshots!();
    if (this.setup.bitmaps.length > 0) {
      // They would not know of what going back changes.
      const code = await snapshots.apply({ name }).then(
        () => "none",
        (error: { code: string }) => error.code,
      );
      assert.equal(code, "E_UNSUPPORTED", "going back with bitmaps");
      return;
    }
    try {
      await snapshots.apply({ name });
    } catch (error) {
      // Its references are counted twice for a moment.
      if ((error as { code?: string }).code !== "E_LIMIT" || this.setup.refcountBits > 8)
        throw error;
      return this.expectContents();
    }
    this.bytes = bytes.slice();
    await this.expectContents();
  }

  private async forget(which: number): Promise<void> {
    const name = [...this.kept.keys()][Math.floor(which * this.kept.size)];
    if (name === undefined) return;
    await (await this.disk.image.snapshots!()).remove({ name });
    this.kept.delete(name);
    await this.expectContents();
  }

  /** Each snapshot keeps what it kept. */
  private async expectKept(): Promise<void> {
    for (const [name, bytes] of this.kept) {
      const { base } = this.behind;
      const disk = await openDisk(this.storage, {
        format: this.setup.format,
        codecs: this.codecs,
        snapshot: { name },
        ...unlocking(this.setup),
        references: () => Promise.resolve(base!.clone("base")),
      });
      const found = new Uint8Array(disk.size);
      await disk.read(0, found);
      assert.equal(found.length, bytes.length, `size of ${name}`);
      expectEqual(found, bytes, 0);
      await disk.close();
    }
  }

  private async takeApart(requests: readonly Request[]): Promise<void> {
    const chosen: Array<{ readonly request: Request; readonly effect: Effect }> = [];
    for (const request of requests) {
      const effect = this.effectOf(request);
      const { start, end } = effect;
      if (
        start >= end ||
        chosen.some((other) => other.effect.start < end && start < other.effect.end)
      )
        continue;
      chosen.push({ request, effect });
    }
    await settle(
      chosen.map(async ({ request, effect: { start, end, bytes } }) => {
        if (request.kind !== "read") return this.issue(request, start, end, bytes);
        const found = new Uint8Array(end - start);
        await this.disk.read(start, found);
        expectEqual(found, this.bytes.subarray(start, end), start);
      }),
    );
    for (const { request, effect } of chosen) this.apply(this.bytes, this.visible(request, effect));
  }

  /** Every sector has to be what one of the orders of the requests leaves there. */
  private async takeTogether(requests: readonly Request[]): Promise<void> {
    const effects = requests
      .map((request) => ({ request, effect: this.effectOf(request) }))
      .filter(({ effect }) => effect.start < effect.end);
    await settle(
      effects.map(async ({ request, effect: { start, end, bytes } }) =>
        request.kind === "read"
          ? this.disk.read(start, new Uint8Array(end - start))
          : this.issue(request, start, end, bytes),
      ),
    );
    const found = new Uint8Array(this.bytes.length);
    await this.disk.read(0, found);
    const visible = effects.map(({ request, effect }) => this.visible(request, effect));
    for (let at = 0; at < found.length; at += 512) {
      const touching = visible.filter(({ start, end }) => start < at + 512 && at < end);
      const sector = found.subarray(at, at + 512);
      const isExplained = orders(touching).some((order) => {
        const expected = this.bytes.slice(at, at + 512);
        for (const effect of order) this.apply(expected, effect, at);
        return firstDifference(sector, expected) < 0;
      });
      assert.isTrue(isExplained, `sector at ${at}: no order of the requests leads to it`);
    }
    this.bytes = found;
  }

  private effectOf(request: Request): Effect {
    const size = this.bytes.length;
    const unit = this.setup.clusterSize;
    const { at, length, grain } = request.place;
    if (request.kind === "compressed") {
      const start = alignDown(Math.min(size - 1, Math.floor(at * size)), unit);
      const end = Math.min(size, start + unit);
      if (size === 0) return { start: 0, end: 0, bytes: undefined };
      return { start, end, bytes: this.contents(end - start, request.random) };
    }
    const round = grain === "byte" ? 1 : grain === "sector" ? 512 : Math.max(512, unit);
    const start = alignDown(Math.floor(at * size), round);
    const until = Math.min(size, start + length);
    const end = until === size ? size : Math.max(start, alignDown(until, round));
    if (request.kind === "write") return { start, end, bytes: this.contents(end - start, false) };
    return { start, end, bytes: request.kind === "read" ? undefined : "zeros" };
  }

  /** What the guest will see of it: a discard leaves partial clusters alone. */
  private visible(request: Request, effect: Effect): Effect {
    if (request.kind !== "discard") return effect;
    const { version, backing, clusterSize } = this.setup;
    if (version === 2 && backing !== undefined) return { ...effect, bytes: undefined };
    const end = effect.end === this.bytes.length ? effect.end : alignDown(effect.end, clusterSize);
    return { ...effect, start: alignUp(effect.start, clusterSize), end };
  }

  private async issue(
    request: Request,
    start: number,
    end: number,
    bytes: Effect["bytes"],
  ): Promise<void> {
    this.noteChange(start, end);
    switch (request.kind) {
      case "write":
        return this.disk.write(start, bytes as Uint8Array);
      case "compressed":
        // What lies in a file of its own, or is encrypted, is never compressed.
        return this.setup.dataFile === undefined && this.setup.encryption === undefined
          ? this.disk.writeCompressed(start, bytes as Uint8Array)
          : this.disk.write(start, bytes as Uint8Array);
      case "discard":
        return this.disk.discard(start, end - start);
      default:
        return this.disk.writeZeroes(start, end - start, { unmap: request.kind === "zero" });
    }
  }

  private apply(target: Uint8Array, { start, end, bytes }: Effect, base = 0): void {
    const from = Math.max(start, base);
    const to = Math.min(end, base + target.length);
    if (bytes === undefined || from >= to) return;
    if (bytes === "zeros") target.fill(0, from - base, to - base);
    else target.set(bytes.subarray(from - start, to - start), from - base);
  }

  /** Bytes that tell which write they are from; never zero, unless random. */
  private contents(length: number, random: boolean): Uint8Array {
    const number = ++this.writes;
    const bytes = new Uint8Array(length);
    let state = number;
    for (let i = 0; i < length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      bytes[i] = random ? state >>> 24 : 1 + ((number * 37 + (i >>> 9)) % 255);
    }
    return bytes;
  }
}

/** Awaits all of them, also when one fails. */
async function settle(tasks: ReadonlyArray<Promise<unknown>>): Promise<void> {
  const results = await Promise.allSettled(tasks);
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

function orders<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, i) =>
    orders([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest]),
  );
}

function createValues(setup: ModelSetup): FormatOptionValues {
  if (setup.format === "raw") return {};
  return {
    compat: setup.version === 2 ? "0.10" : "1.1",
    cluster_size: setup.clusterSize,
    refcount_bits: setup.refcountBits,
    compression_type: setup.compression ?? "zlib",
    preallocation: setup.preallocation,
    ...(setup.extendedL2 && { extended_l2: true }),
    ...(setup.encryption !== undefined && {
      "encrypt.format": setup.encryption,
      "encrypt.key-secret": "model",
    }),
    // Each of them takes time, by intention.
    ...(setup.encryption === "luks" && { "encrypt.iter-time": 10 }),
    ...(setup.dataFile !== undefined && {
      data_file: "data",
      data_file_raw: setup.dataFile === "raw",
    }),
  };
}

function openModel(
  setup: ModelSetup,
  codecs: Codecs,
  storage: JitterStorage,
  { base, dataFile }: Behind,
): Promise<Disk> {
  return openDisk(storage, {
    writable: true,
    format: setup.format,
    codecs,
    ...unlocking(setup),
    references: ({ kind }) => Promise.resolve(kind === "backing" ? base!.clone("base") : dataFile),
    ...(setup.cacheSize !== undefined && { cacheSize: setup.cacheSize }),
  });
}

/** A disk of bytes that no write of the model has in their place. Also written to `copy`. */
async function createBacking(
  { format, percent }: ModelBacking,
  size: number,
  codecs: Codecs,
  copy: WritableStorage | undefined,
): Promise<{ readonly storage: MemoryStorage; readonly bytes: Uint8Array }> {
  const bytes = new Uint8Array(alignUp(Math.ceil((size * percent) / 100), 512));
  // Every third stretch of it has never been written.
  const stretch = 12_288;
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = Math.floor(i / stretch) % 3 === 2 ? 0 : 255 - ((i >>> 9) % 200);
  }
  const storage = new MemoryStorage({ name: "base" });
  const made = await formatNamed(format, "create").create!(storage, { size: bytes.length });
  await made.finish({ durable: false });
  await made.image.close();
  const kept = new JitterStorage(storage, 0);
  const disk = await openDisk(kept, { writable: true, format, codecs });
  for (let at = 0; at < bytes.length; at += stretch) {
    const piece = bytes.subarray(at, at + stretch);
    if (piece.some((byte) => byte !== 0)) await disk.write(at, piece);
  }
  await disk.close();
  await copy?.write(0, storage.toBytes());
  return { storage, bytes };
}
