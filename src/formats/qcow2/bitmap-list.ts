import type { BitmapInfo, Bitmaps, DirtyRange } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import { BitmapBits } from "./bitmap-bits.ts";
import {
  BitmapFlag,
  directoryEntrySize,
  granularityBits,
  maxBitmapBytes,
  maxNameBytes,
  readBitmapDirectory,
  tableBytes,
  type DirectoryEntry,
} from "./bitmap-directory.ts";
import { bitmapError, inconsistent } from "./bitmap-error.ts";
import {
  bitmapState,
  maxBitmapDirectory,
  maxBitmaps,
  type BitmapExtension,
} from "./bitmap-extension.ts";
import {
  placesOf,
  releasePlaces,
  rewriteDirectory,
  storeBits,
  switchDirectory,
  writeDirectory,
  type Place,
} from "./bitmap-store.ts";
import {
  BitmapCluster,
  invalidEntry,
  readBitmapTable,
  storedClusters,
  type BitmapTable,
} from "./bitmap-table.ts";
import { invalid } from "./invalid.ts";
import { WritableMetadata, type Metadata } from "./metadata.ts";
import { readFully } from "./read.ts";

/** One bitmap of an open image. */
interface Bitmap {
  readonly name: string;
  readonly rawName: Uint8Array;
  readonly granularityBits: number;
  enabled: boolean;
  /** It was in use by somebody who has not stored it. */
  readonly inconsistent: boolean;
  /** As it is in the directory; undefined while it is new. */
  stored: DirectoryEntry | undefined;
  /** Its table in the file; undefined where there is none, or none that could be relied on. */
  table: BitmapTable | undefined;
  /** Undefined until they are needed. */
  bits: BitmapBits | undefined;
}

/** Runs a task while nothing else changes the metadata. */
type Exclusively = (task: () => Promise<void>) => Promise<void>;

/**
 * The bitmaps of an open qcow2 image. Written by QEMU's rules: on opening for writing all consistent
 * ones are loaded and marked in use; on closing all of them are stored anew, bits, tables and
 * directory, before the old ones are released.
 */
export class Qcow2Bitmaps implements Bitmaps {
  private readonly metadata: Metadata;
  private readonly exclusively: Exclusively;
  private bitmaps: Bitmap[];
  /** What has been stored by closing may not change any more. */
  private closed = false;

  private constructor(metadata: Metadata, bitmaps: Bitmap[], exclusively: Exclusively) {
    this.metadata = metadata;
    this.bitmaps = bitmaps;
    this.exclusively = exclusively;
  }

  /**
   * Reads directory and tables, checks them, and if the image can be written loads the bits and marks
   * the bitmaps. Throws what {@link readBitmapDirectory} does, and `E_CORRUPT`.
   */
  static async load(metadata: Metadata, exclusively: Exclusively): Promise<Qcow2Bitmaps> {
    const { storage, header, geometry, diskSize } = metadata;
    const { extension } = bitmapState(header, storage.name);
    const limits = { clusterSize: geometry.clusterSize, diskSize };
    const entries =
      extension === undefined ? [] : await readBitmapDirectory(storage, extension, limits);
    const loaded = new Qcow2Bitmaps(metadata, [], exclusively);
    loaded.checkSpace(entries);
    const names = new Set<string>();
    for (const entry of entries) {
      const key = String(entry.name);
      const bitmap = openBitmap(entry);
      if (names.has(key)) {
        const text = `Bitmap already exists: ${bitmap.name}`;
        throw invalid(storage.name, "E_CORRUPT", text, { field: "bitmap directory" });
      }
      names.add(key);
      if (!bitmap.inconsistent) bitmap.table = await loaded.loadTable(bitmap, entry);
      loaded.bitmaps.push(bitmap);
    }
    loaded.checkBits();
    if (metadata instanceof WritableMetadata && extension !== undefined) {
      for (const bitmap of loaded.bitmaps) if (!bitmap.inconsistent) await loaded.bitsOf(bitmap);
      if (loaded.bitmaps.some((bitmap) => !bitmap.inconsistent)) {
        for (const bitmap of loaded.bitmaps) {
          const { stored } = bitmap;
          bitmap.stored = stored && { ...stored, flags: stored.flags | BitmapFlag.inUse };
        }
        await rewriteDirectory(metadata, extension, loaded.directory());
      }
    }
    return loaded;
  }

  get size(): number {
    return this.metadata.diskSize;
  }

  list(): BitmapInfo[] {
    return this.bitmaps.map(({ name, granularityBits: bits, enabled, inconsistent: lost }) => ({
      name,
      granularity: 2 ** bits,
      enabled,
      inconsistent: lost,
    }));
  }

  /** What `info` shows, with the flags that they have in the file. */
  get details(): Readonly<Record<string, unknown>> {
    const bitmaps = this.directory().map(({ name, granularityBits: bits, flags }) => ({
      flags: [
        ...((flags & BitmapFlag.inUse) !== 0 ? ["in-use"] : []),
        ...((flags & BitmapFlag.auto) !== 0 ? ["auto"] : []),
      ],
      name: new TextDecoder().decode(name),
      granularity: 2 ** bits,
    }));
    return bitmaps.length === 0 ? {} : { bitmaps };
  }

  async *dirty(name: string): AsyncGenerator<DirtyRange> {
    const bitmap = this.usable(name);
    yield* (await this.bitsOf(bitmap)).ranges();
  }

  add(name: string, { granularity }: { readonly granularity?: number } = {}): void {
    this.checkWritable();
    const { geometry, header, storage, diskSize } = this.metadata;
    const file = storage.name;
    const refuse = (text: string, field: string, value: number | string) =>
      bitmapError(file, "E_INVALID_ARGUMENT", text, { field, value });
    if (name === "") throw refuse("Bitmap name cannot be empty", "name", name);
    const bytes = granularity ?? Math.min(65536, Math.max(4096, geometry.clusterSize));
    const bits = Math.log2(bytes);
    if (bytes < 512 || !Number.isInteger(bits)) {
      throw refuse("Granularity must be power of 2 and at least 512", "granularity", bytes);
    }
    const prefix = `Can't make bitmap '${name}' persistent in '#block100': `;
    if (header.fields.version < 3) {
      const text = `${prefix}Cannot store dirty bitmaps in qcow2 v2 files`;
      throw bitmapError(file, "E_UNSUPPORTED", text, { field: "version", value: 2 });
    }
    if (diskSize === 0) throw this.empty();
    const rawName = new TextEncoder().encode(name);
    const wrong = wrongConstraint(diskSize, bits, rawName.length);
    if (wrong !== undefined) throw refuse(prefix + wrong, "bitmap", name);
    const names = [...this.bitmaps.map((other) => other.rawName), rawName];
    if (names.length > maxBitmaps) {
      const text = `${prefix}Maximum number of persistent bitmaps is already reached`;
      throw bitmapError(file, "E_LIMIT", text, { value: names.length });
    }
    const directory = names.reduce((sum, { length }) => sum + directoryEntrySize(length), 0);
    if (directory > maxBitmapDirectory) {
      const text = `${prefix}Not enough space in the bitmap directory`;
      throw bitmapError(file, "E_LIMIT", text, { value: directory });
    }
    if (this.bitmaps.some((other) => other.name === name)) {
      throw bitmapError(file, "E_EXISTS", `Bitmap already exists: ${name}`, { value: name });
    }
    this.bitmaps.push({
      name,
      rawName,
      granularityBits: bits,
      enabled: true,
      inconsistent: false,
      stored: undefined,
      table: undefined,
      bits: new BitmapBits(diskSize, bits, geometry.clusterSize),
    });
  }

  async remove(name: string): Promise<void> {
    const metadata = this.checkWritable();
    const bitmap = this.find(name);
    await this.exclusively(async () => {
      const { stored } = bitmap;
      if (stored !== undefined) {
        const table = bitmap.table ?? (await this.tableForRelease(stored));
        const others = this.directory().filter((entry) => entry !== stored);
        await this.settle(metadata, others, []);
        if (table !== undefined) {
          const places = placesOf(stored, table, metadata.geometry.clusterSize);
          // A bitmap that was in use may claim what is not its own: that stays where it is.
          for (const place of places) {
            await releasePlaces(metadata, [place]).catch((error: unknown) => {
              if (!bitmap.inconsistent) throw error;
            });
          }
        }
      }
      this.bitmaps = this.bitmaps.filter((other) => other !== bitmap);
    });
  }

  clear(name: string): void {
    this.checkWritable();
    this.usable(name).bits?.clear();
  }

  enable(name: string, enabled: boolean): void {
    this.checkWritable();
    this.usable(name).enabled = enabled;
  }

  async merge(name: string, source: string, from: Bitmaps = this): Promise<void> {
    this.checkWritable();
    const target = this.find(name);
    const ranges: DirtyRange[] = [];
    for await (const range of from.dirty(source)) ranges.push(range);
    if (from.size !== this.size) {
      const text =
        `Bitmaps are of different sizes (destination size is ${BigInt(this.size)}, source size is ` +
        `${BigInt(from.size)}) and can't be merged`;
      const file = this.metadata.storage.name;
      throw bitmapError(file, "E_INVALID_ARGUMENT", text, { value: source });
    }
    const bits = await this.bitsOf(this.usable(target.name));
    for (const { start, end } of ranges) bits.set(start, end);
  }

  /** Sets the bits of the guest bytes [start, end) in all enabled bitmaps. */
  record(start: number, end: number): void {
    for (const { enabled, bits } of this.bitmaps) if (enabled) bits?.set(start, end);
  }

  /**
   * Throws `E_BITMAP_INCONSISTENT` if the disk cannot be resized for the sake of a bitmap, and
   * `E_UNSUPPORTED` for a size of 0: there is no way to store the bitmaps of such a disk, and QEMU loses
   * them.
   */
  refuseResize(size: number): void {
    for (const bitmap of this.bitmaps) this.usable(bitmap.name);
    if (size === 0 && this.bitmaps.length > 0) throw this.empty();
  }

  private empty(): PlatterError {
    const text = "Persistent bitmaps cannot be stored for a disk of 0 bytes";
    const advice = "remove the bitmaps first";
    return bitmapError(this.metadata.storage.name, "E_UNSUPPORTED", text, {
      field: "size",
      advice,
    });
  }

  /** The disk has another size now. */
  resized(size: number): void {
    for (const { bits } of this.bitmaps) bits?.resize(size);
  }

  /**
   * Stores all bitmaps; nobody else may change the metadata meanwhile. Bitmaps cannot be changed
   * afterwards. When it rejects, the bitmaps in the file stay in use, and so are lost.
   */
  async store(): Promise<void> {
    if (this.closed || !(this.metadata instanceof WritableMetadata)) return;
    this.closed = true;
    if (this.bitmaps.every((bitmap) => bitmap.inconsistent)) return;
    const { metadata } = this;
    const made: Place[] = [];
    const old: Place[] = [];
    const fresh = this.bitmaps.filter((bitmap) => bitmap.stored === undefined);
    const ordered = [...this.bitmaps.filter((bitmap) => bitmap.stored), ...fresh.toReversed()];
    const entries: DirectoryEntry[] = [];
    try {
      // What waits to be released is free for the bitmaps.
      await metadata.writeBack.flush(false);
      try {
        for (const bitmap of ordered) {
          entries.push(await this.storeOne(metadata, bitmap, made, old));
        }
      } catch (error) {
        await releasePlaces(metadata, made);
        throw error;
      }
      await this.settle(metadata, entries, made);
    } catch (error) {
      throw asLost(error, metadata.storage.name);
    }
    await releasePlaces(metadata, old);
  }

  /** Makes `entries` the directory. Gives `made` back when that fails before the header is touched. */
  private async settle(
    metadata: WritableMetadata,
    entries: readonly DirectoryEntry[],
    made: readonly Place[],
  ): Promise<void> {
    const places = [...made];
    let next: BitmapExtension | undefined;
    try {
      next = await writeDirectory(metadata, entries, places);
    } catch (error) {
      await releasePlaces(metadata, places);
      throw error;
    }
    await switchDirectory(metadata, next);
  }

  private async storeOne(
    metadata: WritableMetadata,
    bitmap: Bitmap,
    made: Place[],
    old: Place[],
  ): Promise<DirectoryEntry> {
    const { stored, bits, name, rawName } = bitmap;
    if (bitmap.inconsistent || bits === undefined) return stored!;
    const wrong = wrongConstraint(this.size, bitmap.granularityBits, rawName.length);
    if (wrong !== undefined) {
      const text = `Bitmap '${name}' doesn't satisfy the constraints: ${wrong}`;
      throw bitmapError(metadata.storage.name, "E_LIMIT", text, { value: name });
    }
    const { clusterSize } = metadata.geometry;
    const place = await storeBits(metadata, name, bits, made);
    if (stored !== undefined) old.push(...placesOf(stored, bitmap.table!, clusterSize));
    return {
      name: rawName,
      granularityBits: bitmap.granularityBits,
      flags: bitmap.enabled ? BitmapFlag.auto : 0,
      ...place,
    };
  }

  private directory(): DirectoryEntry[] {
    return this.bitmaps.flatMap(({ stored }) => (stored === undefined ? [] : [stored]));
  }

  private find(name: string): Bitmap {
    const found = this.bitmaps.find((bitmap) => bitmap.name === name);
    if (found !== undefined) return found;
    const text = `Dirty bitmap '${name}' not found`;
    throw bitmapError(this.metadata.storage.name, "E_BITMAP_NOT_FOUND", text, { value: name });
  }

  private usable(name: string): Bitmap {
    const bitmap = this.find(name);
    if (bitmap.inconsistent) throw inconsistent(this.metadata.storage.name, name);
    return bitmap;
  }

  private checkWritable(): WritableMetadata {
    const { metadata } = this;
    const file = metadata.storage.name;
    if (!(metadata instanceof WritableMetadata)) {
      throw new PlatterError("E_READ_ONLY", `${file}: the image is open for reading only`, {
        file,
      });
    }
    if (this.closed) {
      throw new PlatterError("E_CLOSED", `${file}: the bitmaps have been stored and closed`, {
        file,
      });
    }
    return metadata;
  }

  /** Tables do not overlap, so together they are not longer than the file. */
  private checkSpace(entries: readonly DirectoryEntry[]): void {
    const { storage } = this.metadata;
    let total = 0;
    for (const entry of entries) {
      if ((entry.flags & BitmapFlag.inUse) === 0) total += tableBytes(entry);
    }
    if (total <= storage.size) return;
    throw invalid(storage.name, "E_CORRUPT", "Bitmap tables are longer than the file", {
      field: "bitmap_table_size",
      value: total,
    });
  }

  /** Clusters of bits belong to one table entry each, so together they are not longer than the file. */
  private checkBits(): void {
    const { storage, geometry } = this.metadata;
    let total = 0;
    for (const { name, table } of this.bitmaps) {
      for (const offset of table === undefined ? [] : storedClusters(table)) {
        total += geometry.clusterSize;
        if (offset + geometry.clusterSize <= storage.size) continue;
        const text = `Could not read bitmap '${name}' from image`;
        const advice = "the file has been cut short";
        throw invalid(storage.name, "E_TRUNCATED", text, { field: "bitmap table", offset, advice });
      }
    }
    if (total <= storage.size) return;
    throw invalid(storage.name, "E_CORRUPT", "Bitmaps are longer than the file", {
      field: "bitmap table",
      value: total,
    });
  }

  private async loadTable(bitmap: Bitmap, entry: DirectoryEntry): Promise<BitmapTable> {
    const { storage, geometry, diskSize } = this.metadata;
    const table = await readBitmapTable(storage, entry, geometry.clusterSize);
    const refuse = (text: string, details: { field: string; offset: number; value?: number }) =>
      invalid(storage.name, "E_CORRUPT", `${text}: Invalid argument`, details);
    const bad = table.indexOf(invalidEntry);
    const { name, granularityBits: bits } = bitmap;
    if (bad >= 0) {
      const text = `Could not read bitmap_table table from image for bitmap '${name}'`;
      throw refuse(text, {
        field: `bitmap table entry ${bad}`,
        offset: entry.tableOffset + bad * 8,
      });
    }
    const { pieceCount } = new BitmapBits(diskSize, bits, geometry.clusterSize);
    if (pieceCount !== table.length) {
      throw refuse(`Could not read bitmap '${name}' from image`, {
        field: "bitmap_table_size",
        offset: entry.tableOffset,
        value: table.length,
      });
    }
    return table;
  }

  /** The table of a bitmap that is in use, if its clusters can be told. */
  private async tableForRelease(entry: DirectoryEntry): Promise<BitmapTable | undefined> {
    const { storage, geometry } = this.metadata;
    const table = await readBitmapTable(storage, entry, geometry.clusterSize).catch(
      () => undefined,
    );
    return table?.includes(invalidEntry) === true ? undefined : table;
  }

  private async bitsOf(bitmap: Bitmap): Promise<BitmapBits> {
    if (bitmap.bits !== undefined) return bitmap.bits;
    const { storage, geometry, diskSize } = this.metadata;
    const { clusterSize } = geometry;
    const bits = new BitmapBits(diskSize, bitmap.granularityBits, clusterSize);
    for (const [index, cluster] of (bitmap.table ?? []).entries()) {
      if (cluster === BitmapCluster.zeros) continue;
      if (cluster === BitmapCluster.ones) {
        bits.load(index, "ones");
        continue;
      }
      const bytes = new Uint8Array(clusterSize);
      await readFully(storage, cluster, bytes, `bitmap '${bitmap.name}'`);
      bits.load(index, bytes);
    }
    bitmap.bits = bits;
    return bits;
  }
}

function openBitmap(entry: DirectoryEntry): Bitmap {
  return {
    name: new TextDecoder().decode(entry.name),
    rawName: entry.name,
    granularityBits: entry.granularityBits,
    enabled: (entry.flags & BitmapFlag.auto) !== 0,
    inconsistent: (entry.flags & BitmapFlag.inUse) !== 0,
    stored: entry,
    table: undefined,
    bits: undefined,
  };
}

/** QEMU's words for why a bitmap cannot be stored. */
function wrongConstraint(size: number, bits: number, nameLength: number): string | undefined {
  if (bits > granularityBits.most) {
    return `Granularity exceeds maximum (${2 ** granularityBits.most} bytes)`;
  }
  if (size > maxBitmapBytes * 2 ** bits) {
    return "Too much space will be occupied by the bitmap. Use larger granularity";
  }
  return nameLength > maxNameBytes
    ? `Name length exceeds maximum (${maxNameBytes} characters)`
    : undefined;
}

/** QEMU says what an error on storing bitmaps means. */
function asLost(error: unknown, file: string): unknown {
  if (!(error instanceof PlatterError)) return error;
  const qemu =
    `Lost persistent bitmaps during inactivation of node '#block100': ` +
    (error.details.qemu ?? error.message);
  const message = `${file}: the bitmaps could not be stored and are lost: ${error.message}`;
  return new PlatterError(error.code, message, { ...error.details, qemu });
}
