import {
  advance,
  alignDown,
  alignUp,
  guest,
  lower,
  type GuestOffset,
  type HostOffset,
} from "../bytes/index.ts";
import { canPack, readsOnly, type Codecs } from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import type { Storage } from "../storage/index.ts";
import type { Change, Edge, Image, Places, Preallocation, ResizeOptions } from "./image.ts";
import { GuestData } from "./guest-data.ts";
import { Kind, SpareRuns, type Runs } from "./mapping.ts";
import { extents, type Extent, type ExtentOptions } from "./extents.ts";
import { PendingChange, PendingOverwrite, type PendingWrite } from "./pending-write.ts";
import { readable, writable, type StreamOptions } from "./streams.ts";

/** Longest write of zeros in one go, in bytes, where a range has to be filled with them. */
const zeroChunk = 1024 * 1024;

/** A write of up to so many bytes, with what is beside it, is made in one piece. */
const togetherBytes = 256 * 1024;

/** So many bytes of zeros beside a write are better made by the host. */
const zeroedBytes = 16 * 1024;

/** Runs that one request looks at in one go, and a request that needs only the first. */
const manyRuns = new SpareRuns(64);
const firstRun = new SpareRuns(1);

/** How the data of a write gets to its place. */
interface Putting {
  /** `length` guest bytes from `start` on go to `host`, where data has been before. */
  readonly overwrite: (host: HostOffset, start: GuestOffset, length: number) => Promise<void>;
  /** The guest bytes of a change go to its place, with what is beside them. */
  readonly change: (change: Change) => Promise<void>;
}

/** A write that has been begun: up to where, and when its data is down. */
interface Begun {
  readonly end: GuestOffset;
  readonly pending: PendingWrite;
  readonly written: Promise<void>;
}

/**
 * What the guest sees: the bytes 0 … size of an image and of the images behind it.
 *
 * All moving of guest bytes is here, once for every format: reading through the backing chain,
 * copy-on-write, zeroes, decompression. Offsets are bytes and need no alignment. Requests may
 * overlap in time; overlapping writes end in some order.
 */
export class Disk {
  readonly image: Image;
  /** The disk behind this one; absent where there is none or it is not needed. */
  readonly backing: Disk | undefined;
  /** The bytes that the image's mapping points to. */
  readonly data: GuestData;
  private closed = false;

  /** `codecs` are needed if the image has compressed clusters. Takes charge of image and backing. */
  constructor(image: Image, backing?: Disk, codecs?: Codecs) {
    this.image = image;
    this.backing = backing;
    this.data = new GuestData(image, codecs);
  }

  /** Size in bytes. */
  get size(): number {
    return this.image.size;
  }

  /** Name of the image's storage, for messages. */
  get name(): string {
    return this.image.storage.name;
  }

  /**
   * Fills `into` with the guest bytes from `at` on. Throws `E_OUT_OF_RANGE` when the range reaches
   * past the end of the disk, and what the storage, the format or the codec report.
   */
  async read(at: number, into: Uint8Array): Promise<void> {
    this.checkRange(at, into.length);
    await this.readRange(guest(at), into);
  }

  /** Writes `from` at `at`. Throws as {@link Disk.read}, and `E_READ_ONLY`. */
  async write(at: number, from: Uint8Array): Promise<void> {
    this.checkRange(at, from.length);
    this.checkWritable();
    if (from.length > 0) this.image.changing?.(at, at + from.length);
    await this.writeRange(guest(at), from);
  }

  /** As {@link Disk.write}, of a range that is known to be inside the disk. */
  private async writeRange(at: GuestOffset, from: Uint8Array): Promise<void> {
    for (let done = 0; done < from.length;) {
      const { end, pending } = await this.beginBytes(advance(at, done), from.subarray(done));
      await pending.finish();
      done = end - at;
    }
  }

  /**
   * Begins to write the start of `from` at `at`, as much as one place takes; tells where that ends. The
   * bytes must stay what they are until the write is finished. Throws as {@link Disk.write}.
   */
  async beginWrite(
    at: number,
    from: Uint8Array,
  ): Promise<{ readonly end: number; readonly pending: PendingWrite }> {
    this.checkRange(at, from.length);
    this.checkWritable();
    this.image.changing?.(at, at + from.length);
    return this.beginBytes(guest(at), from);
  }

  /**
   * As {@link Disk.beginWrite} for `length` bytes at `fromOffset` of another storage, whose blocks both share
   * then. Undefined, with nothing begun, where that cannot be.
   */
  async beginShared(
    at: number,
    length: number,
    from: Storage,
    fromOffset: number,
  ): Promise<{ readonly end: number; readonly pending: PendingWrite } | undefined> {
    this.checkRange(at, length);
    this.checkWritable();
    const { storage } = this.data;
    if (storage.share === undefined || this.data.isEncrypted) return undefined;
    this.image.changing?.(at, at + length);
    let isShared = true;
    const share = async (host: HostOffset, start: number, count: number): Promise<void> => {
      isShared = await storage.share!(from, fromOffset + (start - at), host, count);
    };
    const begun = await this.begin(guest(at), advance(guest(at), length), {
      overwrite: share,
      change: async ({ host, start, end, edges }) => {
        if (edges.length > 0) isShared = false;
        else await share(host, start, end - start);
      },
    });
    await begun.written.catch(() => undefined);
    if (isShared) return begun;
    await begun.pending.giveUp();
    return undefined;
  }

  /** Whether it makes sense to ask for {@link Disk.placesFor}. */
  get givesManyPlaces(): boolean {
    return this.image.isTransparent === true || this.image.writer?.ensureMany !== undefined;
  }

  /**
   * Places for guest bytes of [at, end), with data in up to `most` of them, for somebody who finds out later where there
   * is any. Undefined where they have to be asked for one by one. Throws as {@link Disk.write}.
   */
  async placesFor(at: number, end: number, most: number): Promise<Places | undefined> {
    this.checkRange(at, end - at);
    const writer = this.checkWritable();
    const start = guest(at);
    const places =
      (await this.fixedPlaces(start, guest(end))) ??
      (await writer.ensureMany?.(start, guest(end), most));
    if (places === undefined) return undefined;
    return {
      ...places,
      commit: async (stored) => {
        for (const run of stored) this.image.changing?.(run.start, run.end);
        this.data.forgetUnpacked();
        await places.commit(stored);
      },
    };
  }

  /** The places that the start of [at, end) has already, if it may be overwritten there. */
  private async fixedPlaces(at: GuestOffset, end: GuestOffset): Promise<Places | undefined> {
    const runs = firstRun.take();
    const release = this.image.lease?.();
    let places: Places | undefined;
    try {
      const mapped = await this.mapSome(at, end, runs);
      if (mapped > at && runs.kind[0] === Kind.data && runs.inPlace[0] === 1) {
        const stop = lower(end, advance(at, runs.length[0]!));
        const host = runs.hostOf(0, at);
        await this.image.beforeOverwrite?.(host, stop - at);
        const giveBack = async (): Promise<void> => release?.();
        // What was written before a failure has changed the disk, wherever that was.
        const abort = (): Promise<void> => {
          this.image.changing?.(at, stop);
          return giveBack();
        };
        places = { end: stop, placing: "fixed", host, commit: giveBack, abort };
      }
      return places;
    } finally {
      firstRun.give(runs);
      if (places === undefined) release?.();
    }
  }

  private beginBytes(at: GuestOffset, from: Uint8Array): Promise<Begun> {
    return this.begin(at, advance(at, from.length), {
      overwrite: (host, start, length) => this.data.write(host, start, from.subarray(0, length)),
      change: (change) => this.writeWithEdges(change, from.subarray(0, change.end - at)),
    });
  }

  private async begin(at: GuestOffset, end: GuestOffset, put: Putting): Promise<Begun> {
    const runs = firstRun.take();
    const release = this.image.lease?.();
    let place: HostOffset | undefined;
    let length = 0;
    try {
      // What is wrong with a table is noted in the image, for it is about to be written.
      if (this.image.map(at, end, runs) === at) {
        await this.image.load(at, true);
        this.image.map(at, end, runs);
      }
      if (runs.count > 0 && runs.kind[0] === Kind.data && runs.inPlace[0] === 1) {
        length = Math.min(runs.length[0]!, end - at);
        const unsure = this.image.beforeOverwrite?.(runs.hostOf(0, at), length);
        if (unsure !== undefined) await unsure;
        place = runs.hostOf(0, at);
      }
    } finally {
      firstRun.give(runs);
      if (place === undefined) release?.();
    }
    if (place === undefined) return this.beginChange(at, end, put);
    const written = put.overwrite(place, at, length);
    const pending = new PendingOverwrite(written, release);
    return { end: advance(at, length), pending, written };
  }

  /** Begins to write as much of [at, end) as one change can take, copying what is beside it. */
  private async beginChange(at: GuestOffset, end: GuestOffset, put: Putting): Promise<Begun> {
    const change = await this.image.writer!.ensure(at, end);
    const written = put.change(change);
    const forget = (): void => this.data.forgetUnpacked();
    return { end: change.end, pending: new PendingChange([change], written, forget), written };
  }

  /** Writes `bytes` to the place of a change, and beside them what the guest sees there now. */
  private async writeWithEdges(change: Change, bytes: Uint8Array): Promise<void> {
    const { edges, host, start, end } = change;
    const first = Math.min(start, ...edges.map((edge) => edge.start));
    const last = Math.max(end, ...edges.map((edge) => edge.end));
    if (
      last - first - bytes.length >= zeroedBytes &&
      (await this.makeZeros(edges, advance(host, first - start), last - first))
    ) {
      return this.data.write(host, start, bytes);
    }
    if (edges.length === 0 || last - first > togetherBytes) {
      for (const edge of edges) {
        const old = new Uint8Array(edge.end - edge.start);
        await this.readRange(edge.start, old);
        await this.data.write(advance(host, edge.start - start), edge.start, old);
      }
      return this.data.write(host, start, bytes);
    }
    // One write takes much less time than three.
    const whole = new Uint8Array(last - first);
    for (const edge of edges) {
      await this.readRange(edge.start, whole.subarray(edge.start - first, edge.end - first));
    }
    whole.set(bytes, start - first);
    await this.data.write(advance(host, first - start), guest(first), whole);
  }

  /**
   * Has the host make zeros of `length` bytes at `host`, if that is what the guest sees in all of `edges`: then
   * nothing has to be written there. False where it is not, or the host cannot.
   */
  private async makeZeros(
    edges: readonly Edge[],
    host: HostOffset,
    length: number,
  ): Promise<boolean> {
    const { storage, isEncrypted } = this.data;
    if (storage.zero === undefined || storage.isDevice === true || isEncrypted) return false;
    for (const { start, end } of edges) {
      if (!(await this.readsAsZeros(guest(start), guest(end)))) return false;
    }
    return storage.zero(host, length, { unmap: false });
  }

  /**
   * Writes one cluster compressed: `at` is a multiple of the cluster size, `from` a cluster or what
   * is left to the end of the disk. Stored plainly where compressing gains nothing. Throws
   * `E_UNSUPPORTED` when the format does not compress, `E_CODEC` when the codec cannot.
   */
  async writeCompressed(at: number, from: Uint8Array, level?: number): Promise<void> {
    this.checkRange(at, from.length);
    const { clusterSize } = this.image;
    this.checkCompressible(at, from.length);
    const codec = await this.data.loadCodec(at);
    if (!canPack(codec)) throw readsOnly(codec.type);
    let cluster = from;
    if (from.length < clusterSize) {
      cluster = new Uint8Array(clusterSize);
      cluster.set(from);
    }
    const packed = new Uint8Array(clusterSize - 1);
    const length = codec.compress(cluster, packed, level);
    if (length === undefined) return this.write(at, from);
    const pending = await this.beginPacked([at], [length], packed);
    await pending.finish();
  }

  /**
   * Throws `E_UNSUPPORTED` unless the format can store `length` bytes at `at` compressed: a cluster, or
   * what is left to the end of the disk.
   */
  checkCompressible(at: number, length: number): void {
    const { clusterSize } = this.image;
    const writer = this.checkWritable();
    const partial = length !== clusterSize && at + length !== this.size;
    if (writer.ensureCompressed === undefined || at % clusterSize !== 0 || partial) {
      throw new PlatterError(
        "E_UNSUPPORTED",
        `${this.name}: ${this.image.format} cannot store ${length} bytes at ${at} compressed`,
        { file: this.name, offset: at, qemu: "Compression not supported for this file format" },
      );
    }
    if (this.data.isEncrypted) {
      throw new PlatterError(
        "E_UNSUPPORTED",
        `${this.name}: the image is encrypted, and what is encrypted cannot be compressed`,
        { file: this.name, qemu: "Operation not supported" },
      );
    }
  }

  /**
   * Begins to write clusters that have been compressed elsewhere: `lengths` bytes of `packed`, one after
   * the other, are the clusters at the guest offsets `at`, in guest order. The bytes must stay what they
   * are until the write is finished.
   */
  async beginPacked(
    at: readonly number[],
    lengths: readonly number[],
    packed: Uint8Array,
  ): Promise<PendingWrite> {
    const writer = this.checkWritable();
    const { clusterSize, storage } = this.image;
    const changes: Change[] = [];
    const writes: Array<Promise<void>> = [];
    let from = 0;
    let to = 0;
    let host = 0;
    const write = (): void => {
      if (from < to) writes.push(storage.write!(host, packed.subarray(from, to)));
    };
    try {
      for (const [i, start] of at.entries()) {
        this.image.changing?.(start, Math.min(start + clusterSize, this.size));
        const change = await writer.ensureCompressed!(guest(start), lengths[i]!);
        changes.push(change);
        // Packed clusters mostly lie next to each other.
        if (host + (to - from) !== change.host) {
          write();
          from = to;
          ({ host } = change);
        }
        to += lengths[i]!;
      }
      write();
    } catch (error) {
      await new PendingChange(changes, Promise.all(writes), () => undefined).giveUp();
      throw error;
    }
    return new PendingChange(changes, Promise.all(writes), () => this.data.forgetUnpacked());
  }

  /**
   * Makes `length` bytes from `at` on read as zeros, without storing them where the format and the
   * host allow it. `unmap` (default true) gives their space back.
   */
  async writeZeroes(
    at: number,
    length: number,
    { unmap = true }: { readonly unmap?: boolean } = {},
  ): Promise<void> {
    this.checkRange(at, length);
    this.checkWritable();
    if (length > 0) this.image.changing?.(at, at + length);
    await this.zeroRange(guest(at), guest(at + length), unmap);
  }

  private async zeroRange(at: GuestOffset, end: GuestOffset, unmap: boolean): Promise<void> {
    const writer = this.checkWritable();
    let position = at;
    while (position < end) {
      const { from, to } = await this.zeroable(position, end);
      if (from > position) await this.fillWithZeros(position, lower(from, end));
      if (from >= end) return;
      const change = await writer.zero(from, to, { unmap });
      let stillZero: boolean;
      try {
        // What a cluster has besides the range may have been written until the change got hold of it.
        stillZero =
          (from >= position || (await this.readsAsZeros(from, position))) &&
          (to <= end || (await this.readsAsZeros(end, to)));
      } catch (error) {
        await change?.abort();
        throw error;
      }
      if (change === undefined || !stillZero) {
        await change?.abort();
        const start = from > position ? from : position;
        const chunk = Math.max(this.image.clusterSize, zeroChunk);
        const stop = lower(end, advance(start, chunk));
        await this.fillWithZeros(start, stop);
        position = stop;
      } else {
        position = lower(end, change.end);
        await change.commit();
      }
    }
  }

  /**
   * Forgets `length` bytes from `at` on: whole clusters read as zeros afterwards and give their space
   * back, the rest stays as it is.
   */
  async discard(at: number, length: number): Promise<void> {
    this.checkRange(at, length);
    const writer = this.checkWritable();
    if (length > 0) this.image.changing?.(at, at + length);
    const end = guest(at + length);
    let position = guest(at);
    while (position < end) {
      const change = await writer.discard(position, end);
      if (change === undefined) return;
      await change.commit();
      position = change.end;
    }
  }

  /** What the disk consists of, through the whole backing chain. */
  extents(options?: ExtentOptions): AsyncGenerator<Extent> {
    return extents(this, options);
  }

  /** A web stream of a range of the disk; by default all of it. */
  readable(options?: StreamOptions): ReadableStream<Uint8Array> {
    return readable(this, options);
  }

  /** A web stream that writes to a range of the disk, and flushes when it is closed. */
  writable(options?: StreamOptions): WritableStream<Uint8Array> {
    return writable(this, options);
  }

  /** Resolves when everything written so far is on stable storage. */
  async flush(): Promise<void> {
    this.checkOpen();
    await this.image.writer?.flush();
  }

  /**
   * Changes the size of the disk; a new part reads as zeros. `size` is a multiple of 512, or for a raw
   * image, whose file gets that length, any number of bytes.
   */
  async resize(size: number, options: Omit<ResizeOptions, "backingSize"> = {}): Promise<void> {
    const writer = this.checkWritable();
    const unit = this.image.isTransparent === true ? 1 : 512;
    if (!Number.isFinite(size) || size < 0 || size % unit !== 0) {
      throw new PlatterError(
        "E_INVALID_SIZE",
        `${this.name}: a disk of ${size} bytes is not possible; sizes are multiples of 512`,
        {
          file: this.name,
          field: "size",
          value: size,
          qemu: "The new size must be a multiple of 512",
        },
      );
    }
    this.data.forgetUnpacked();
    const old = this.size;
    await writer.resize(size, { ...options, backingSize: this.backing?.size ?? 0 });
    if (size > old) await this.zeroGrown(old, options.preallocation ?? "off");
  }

  /** Has whole subclusters from `at` to the end of the disk read as zeros, and returns how far it came. */
  private async markZero(at: GuestOffset): Promise<GuestOffset> {
    const end = guest(this.size);
    let position = at;
    while (position < end) {
      const change = await this.image.writer!.zero(position, end, { unmap: false });
      if (change === undefined) return position;
      await change.commit();
      position = change.end;
    }
    return end;
  }

  /**
   * Zeroes what would show through in the part of the disk from `old` on: what the cluster that the
   * old end cut through held there in earlier times, and what a longer backing image has.
   */
  private async zeroGrown(old: number, preallocation: Preallocation): Promise<void> {
    const { clusterSize, subclusterSize = clusterSize } = this.image;
    const clusterEnd = alignUp(guest(old), clusterSize);
    // All of the new part is marked as zeros, as QEMU does it, where a longer image lies behind it;
    // but subclusters whose space has been reserved are data already.
    const reserved = preallocation === "falloc" || preallocation === "full";
    const marks = (this.backing?.size ?? 0) > old && !(reserved && subclusterSize < clusterSize);
    const marked = marks ? await this.markZero(alignUp(guest(old), subclusterSize)) : clusterEnd;
    const end =
      marked === this.size
        ? Math.min(this.size, clusterEnd)
        : Math.min(this.size, Math.max(clusterEnd, this.backing?.size ?? 0));
    const shown: Array<readonly [start: GuestOffset, end: GuestOffset]> = [];
    for await (const { start, length, zero, depth } of this.extents({ start: old, end })) {
      if (zero) continue;
      // What has been preallocated behind the cluster of the old end shows nothing.
      const stop = depth > 0 ? start + length : Math.min(start + length, clusterEnd);
      if (start < stop) shown.push([guest(start), guest(stop)]);
    }
    for (const [from, to] of shown) await this.zeroRange(from, to, false);
  }

  /**
   * Writes everything out and closes image, storage and all backing disks. Errors of writing out are
   * thrown after everything has been closed.
   */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    try {
      await this.image.close();
    } finally {
      try {
        await this.image.dataStorage?.close();
      } finally {
        try {
          await this.image.storage.close();
        } finally {
          await this.backing?.close();
        }
      }
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Fills `runs` from `at` on, loading tables as needed, until at least one run is known; returns
   * the offset up to which they answer.
   */
  async mapSome(at: GuestOffset, end: GuestOffset, runs: Runs): Promise<GuestOffset> {
    for (;;) {
      const mapped = this.image.map(at, end, runs);
      if (mapped > at || at >= end) return mapped;
      await this.image.load(at);
    }
  }

  /** As {@link Disk.read}, beyond the end of the disk too: zeros are there. */
  private async readRange(at: GuestOffset, into: Uint8Array): Promise<void> {
    const inside = Math.max(0, Math.min(into.length, this.size - at));
    if (inside < into.length) into.fill(0, inside);
    const end = advance(at, inside);
    const runs = manyRuns.take();
    try {
      for (let position = at; position < end;) {
        runs.clear();
        // Taken before mapping: what the answer names must stay what it is until it has been read.
        const release = this.image.lease?.();
        try {
          const mapped = await this.mapSome(position, end, runs);
          for (let i = 0; i < runs.count; i++) {
            const start = guest(Math.max(runs.guest[i]!, position));
            const stop = Math.min(runs.guest[i]! + runs.length[i]!, mapped);
            await this.readRun(runs, i, start, into.subarray(start - at, stop - at));
          }
          position = mapped;
        } finally {
          release?.();
        }
      }
    } finally {
      manyRuns.give(runs);
    }
  }

  /** Reads guest bytes from `start` on, all of which are in run `i`. */
  private async readRun(
    runs: Runs,
    i: number,
    start: GuestOffset,
    into: Uint8Array,
  ): Promise<void> {
    switch (runs.kind[i]) {
      case Kind.data:
        return this.data.read(runs.hostOf(i, start), start, into);
      case Kind.compressed: {
        const place = runs.hostOf(i, runs.guestAt(i));
        const cluster = await this.data.unpack(place, runs.hostLength[i]!);
        const from = start - runs.guest[i]!;
        into.set(cluster.subarray(from, from + into.length));
        return;
      }
      case Kind.unallocated:
        if (this.backing !== undefined) return this.backing.readRange(start, into);
        into.fill(0);
        return;
      default:
        into.fill(0);
    }
  }

  /**
   * The part of [at, end) that can be made zero by whole subclusters. One that the range only touches
   * counts as whole when the rest of it reads as zeros anyway.
   */
  private async zeroable(
    at: GuestOffset,
    end: GuestOffset,
  ): Promise<{ from: GuestOffset; to: GuestOffset }> {
    const { subclusterSize: unit = this.image.clusterSize } = this.image;
    const head = alignDown(at, unit);
    const from = head === at || (await this.readsAsZeros(head, at)) ? head : advance(head, unit);
    const tail = alignDown(end, unit);
    if (tail === end || end === this.size) return { from, to: end };
    const tailEnd = lower(advance(tail, unit), guest(this.size));
    const to = (await this.readsAsZeros(end, tailEnd)) ? tailEnd : tail;
    return to > from ? { from, to } : { from: end, to: end };
  }

  /** Whether the mapping alone says that [at, end), inside one subcluster, reads as zeros. */
  private async readsAsZeros(at: GuestOffset, end: GuestOffset): Promise<boolean> {
    const runs = firstRun.take();
    try {
      await this.mapSome(at, end, runs);
      if (runs.kind[0] === Kind.unallocated) {
        return this.backing === undefined || at >= this.backing.size;
      }
      return runs.kind[0] === Kind.zero && runs.length[0]! >= end - at;
    } finally {
      firstRun.give(runs);
    }
  }

  private async fillWithZeros(at: GuestOffset, end: GuestOffset): Promise<void> {
    const zeros = new Uint8Array(Math.min(zeroChunk, end - at));
    for (let position = at; position < end; position = advance(position, zeros.length)) {
      const piece = zeros.subarray(0, Math.min(zeros.length, end - position));
      // The disk may have become smaller meanwhile.
      this.checkRange(position, piece.length);
      await this.writeRange(position, piece);
    }
  }

  /** Throws `E_OUT_OF_RANGE` unless `length` bytes at `at` are inside [0, end). */
  checkRange(at: number, length: number, end = this.size): void {
    this.checkOpen();
    const isPossible = Number.isInteger(at) && at >= 0 && Number.isInteger(length) && length >= 0;
    if (isPossible && at + length <= end) return;
    throw new PlatterError(
      "E_OUT_OF_RANGE",
      `${this.name}: ${length} bytes at ${at} are not inside the range of ${end} bytes`,
      { file: this.name, offset: at, value: length },
    );
  }

  private checkWritable(): NonNullable<Image["writer"]> {
    this.checkOpen();
    if (this.image.writer !== undefined) return this.image.writer;
    throw new PlatterError("E_READ_ONLY", `${this.name}: the disk is open for reading only`, {
      file: this.name,
    });
  }

  private checkOpen(): void {
    if (!this.closed) return;
    throw new PlatterError("E_CLOSED", `${this.name}: the disk has been closed`, {
      file: this.name,
    });
  }
}
