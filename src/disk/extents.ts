import { guest } from "../bytes/index.ts";
import type { Storage } from "../storage/index.ts";
import type { Disk } from "./disk.ts";
import { Kind, Runs, nowhere } from "./mapping.ts";
import { throwIfAborted } from "../errors.ts";

/** A run of guest bytes that are all of one kind, looked up through the whole backing chain. */
export interface Extent {
  /** Guest offset in bytes. */
  readonly start: number;
  /** Length in bytes. */
  readonly length: number;
  /** The layer that decides: 0 for the image itself, 1 for its backing image, and so on. */
  readonly depth: number;
  /** Some layer has it, be it as zeros. False: nobody has ever written it. */
  readonly present: boolean;
  /** Known to read as zeros. */
  readonly zero: boolean;
  /** Stored somewhere (which may still read as zeros, on a hole). */
  readonly data: boolean;
  /** The stored bytes are compressed. */
  readonly compressed: boolean;
  /** Where the bytes are in `storage`; absent where they are not there as the guest sees them. */
  readonly offset?: number;
  /** The storage of the deciding layer that holds its guest data. */
  readonly storage: Storage;
}

/** Which part of the disk to walk, and how. */
export interface ExtentOptions {
  /** Guest offset to start at; default 0. */
  readonly start?: number;
  /** Guest offset to end at (exclusive); default the size of the disk. */
  readonly end?: number;
  /**
   * Look for holes of the storage in everything mapped as data. Default: only where QEMU looks, in
   * raw images and those with preallocated metadata; and, as there, what is mapped past the end of
   * the storage passes for zeros then.
   */
  readonly holes?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Walks the disk from `start` to `end`, or to its own end if that comes first. Neighbours that
 * continue each other, in the guest and in the storage, are one extent. Throws `E_OUT_OF_RANGE` when
 * an offset is no whole number from 0 up, `E_CLOSED`, `E_ABORTED`, and what reading tables throws.
 */
export async function* extents(disk: Disk, options: ExtentOptions = {}): AsyncGenerator<Extent> {
  const { start = 0, holes = false, signal } = options;
  const end = Math.min(options.end ?? disk.size, disk.size);
  disk.checkRange(Math.min(start, disk.size), Math.max(0, end - start));
  let last: Extent | undefined;
  for await (const extent of walk({ disk, depth: 0, holes, signal }, start, end)) {
    if (last !== undefined && continues(last, extent)) {
      last = lengthened(last, extent.length);
    } else {
      if (last !== undefined) yield last;
      last = extent;
    }
  }
  if (last !== undefined) yield last;
}

const lengthened = (extent: Extent, by: number): Extent => ({
  ...extent,
  length: extent.length + by,
});

interface Layer {
  readonly disk: Disk;
  readonly depth: number;
  readonly holes: boolean;
  readonly signal: AbortSignal | undefined;
}

function continues(a: Extent, b: Extent): boolean {
  return (
    a.start + a.length === b.start &&
    a.depth === b.depth &&
    a.zero === b.zero &&
    a.data === b.data &&
    a.present === b.present &&
    a.compressed === b.compressed &&
    a.storage === b.storage &&
    (a.offset === undefined ? b.offset === undefined : a.offset + a.length === b.offset)
  );
}

async function* walk(layer: Layer, start: number, end: number): AsyncGenerator<Extent> {
  const { disk, depth, signal } = layer;
  const { image } = disk;
  const runs = new Runs();
  const { isEncrypted = false } = image;
  // What is not there in an encrypted image is not zeros, but what zeros decrypt to.
  const looksIntoStorage =
    !isEncrypted &&
    (layer.holes || image.isTransparent === true || ((await image.mapsHoles?.()) ?? false));
  for (let at = start; at < end;) {
    throwIfAborted(signal);
    runs.clear();
    const mapped = await disk.mapSome(guest(at), guest(end), runs);
    for (let i = 0; i < runs.count; i++) {
      const from = Math.max(runs.guest[i]!, at);
      const to = Math.min(runs.guest[i]! + runs.length[i]!, mapped);
      const common = { depth, storage: image.dataStorage ?? image.storage, compressed: false };
      const host = runs.host[i]! + (from - runs.guest[i]!);
      switch (runs.kind[i]) {
        case Kind.unallocated:
          yield* below(layer, from, to, isEncrypted || runs.host[i] === nowhere ? undefined : host);
          break;
        case Kind.compressed:
          yield {
            ...common,
            start: from,
            length: to - from,
            present: true,
            zero: false,
            data: true,
            compressed: true,
          };
          break;
        case Kind.zero:
          yield {
            ...common,
            start: from,
            length: to - from,
            present: true,
            zero: true,
            data: false,
            ...(!isEncrypted && runs.host[i] !== nowhere && { offset: host }),
          };
          break;
        default:
          if (looksIntoStorage) yield* stored(layer, from, to, host);
          else
            yield {
              ...common,
              start: from,
              length: to - from,
              present: true,
              zero: false,
              data: true,
              ...(!isEncrypted && { offset: host }),
            };
      }
    }
    at = mapped;
  }
}

/** What the backing chain says of a range that this layer has nothing of but perhaps a place at `host`. */
async function* below(
  { disk, depth, ...rest }: Layer,
  start: number,
  end: number,
  host: number | undefined,
): AsyncGenerator<Extent> {
  const { backing } = disk;
  const shared = Math.max(start, Math.min(end, backing?.size ?? 0));
  if (backing !== undefined && start < shared) {
    yield* walk({ disk: backing, depth: depth + 1, ...rest }, start, shared);
  }
  if (shared >= end) return;
  yield {
    start: shared,
    length: end - shared,
    depth,
    present: false,
    zero: true,
    data: false,
    compressed: false,
    ...(host !== undefined && { offset: host + (shared - start) }),
    storage: disk.image.dataStorage ?? disk.image.storage,
  };
}

/** Splits guest bytes that are stored at `host` by the holes of the storage. */
function* stored(
  { disk, depth, holes }: Layer,
  start: number,
  end: number,
  host: number,
): Generator<Extent> {
  const { isTransparent = false } = disk.image;
  const storage = disk.image.dataStorage ?? disk.image.storage;
  for (let at = start; at < end;) {
    const offset = host + (at - start);
    const extent =
      offset >= storage.size ? { end: Infinity, data: holes } : storage.extent?.(offset);
    const zero = extent !== undefined && !extent.data;
    const stop = Math.min(end, extent === undefined ? end : at + (extent.end - offset));
    yield {
      start: at,
      length: stop - at,
      depth,
      present: true,
      zero,
      data: !(zero && isTransparent),
      compressed: false,
      offset,
      storage,
    };
    at = stop;
  }
}
