import { Buffers, isZero, type Bytes } from "../bytes/index.ts";
import { localPool } from "../codec/index.ts";
import { Ahead } from "../copy/index.ts";
import { Gatherer, type Disk, type Extent } from "../disk/index.ts";
import { throwIfAborted } from "../errors.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";

/** Which images to compare. */
export interface CompareOptions {
  readonly first: string;
  readonly second: string;
  readonly firstFormat?: string | undefined;
  readonly secondFormat?: string | undefined;
  /** The names are lists of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** Read past the host's page cache. */
  readonly direct?: boolean | undefined;
  /** Sizes have to be equal, and what is allocated in one has to be allocated in the other. */
  readonly strict?: boolean | undefined;
  /** Others may be writing to them (`-U`). */
  readonly shared?: boolean | undefined;
}

/** How two images differ first. */
export type Difference =
  /** The sizes differ, and the comparison is strict. */
  | { readonly kind: "size" }
  /** The byte at guest offset `offset` differs. */
  | { readonly kind: "content"; readonly offset: number }
  /** Data, zeros, nothing, or a place for it, in one and not in the other (strict comparison only). */
  | { readonly kind: "allocation"; readonly offset: number };

/** The outcome of a comparison. */
export interface CompareResult {
  readonly identical: boolean;
  readonly difference?: Difference;
  readonly sizeDiffers: boolean;
  /** The image that is longer, if one is. */
  readonly larger?: "first" | "second";
  /** Size of the shorter one in bytes: up to there both were compared. */
  readonly commonSize: number;
}

/** Longest piece compared at once. */
const chunkBytes = 2 * 1024 * 1024;

/**
 * Compares what the guest would see. Of two images of different size, the rest of the longer one has
 * to be zeros.
 */
export async function compare(
  options: CompareOptions,
  context: CommandContext,
): Promise<CompareResult> {
  const { strict = false, shared, imageOpts, direct } = options;
  const common = { shared, imageOpts, direct } as const;
  await using first = await openImage(
    { name: options.first, format: options.firstFormat, ...common },
    context,
  );
  await using second = await openImage(
    { name: options.second, format: options.secondFormat, ...common },
    context,
  );
  const sizes: Pick<CompareResult, "sizeDiffers" | "larger" | "commonSize"> = {
    sizeDiffers: first.size !== second.size,
    commonSize: Math.min(first.size, second.size),
    ...(first.size > second.size && { larger: "first" }),
    ...(first.size < second.size && { larger: "second" }),
  };
  if (strict && sizes.sizeDiffers) {
    return { identical: false, difference: { kind: "size" }, ...sizes };
  }
  const difference = await findDifference(first, second, strict, context);
  return difference === undefined
    ? { identical: true, ...sizes }
    : { identical: false, difference, ...sizes };
}

async function findDifference(
  first: Disk,
  second: Disk,
  strict: boolean,
  { codecs, sameBytes, signal, onProgress }: CommandContext,
): Promise<Difference | undefined> {
  const total = Math.max(first.size, second.size);
  const pool = codecs.pool?.() ?? localPool(codecs);
  const buffers = new Buffers(codecs.allocate);
  const gatherer = new Gatherer(pool, buffers);
  const read = async (disk: Disk | undefined, { at, end }: Piece): Promise<Bytes | undefined> =>
    disk && gatherer.gather(disk, [{ start: at, end }], at, buffers.take(chunkBytes));
  const ahead = new Ahead(
    pieces(first, second, strict, signal),
    async (piece) => ({
      piece,
      sides: await both(
        read(piece.reads.first ? first : undefined, piece),
        read(piece.reads.second ? second : undefined, piece),
      ),
    }),
    2 * pool.width,
  );
  try {
    for (;;) {
      const next = await ahead.next();
      if (next === undefined) break;
      throwIfAborted(signal);
      const { piece, sides } = next;
      onProgress?.({ done: piece.at, total });
      if (piece.differs) return { kind: "allocation", offset: piece.at };
      const offset = differenceOf(sides, piece.at, piece.end, sameBytes);
      if (offset !== undefined) return { kind: "content", offset };
      for (const side of sides) if (side !== undefined) buffers.give(side);
    }
  } finally {
    await ahead.close();
    await pool.close();
  }
  onProgress?.({ done: total, total });
  return undefined;
}

/** A range that is compared at once. */
interface Piece {
  readonly at: number;
  readonly end: number;
  /** What has to be read; the other side is zeros. */
  readonly reads: { readonly first: boolean; readonly second: boolean };
  /** What the mappings say of it is a difference already. */
  readonly differs: boolean;
}

/** What there is to compare, from the mappings alone. */
async function* pieces(
  first: Disk,
  second: Disk,
  strict: boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<Piece> {
  const shared = Math.min(first.size, second.size);
  const total = Math.max(first.size, second.size);
  const one = new Cursor(first, !strict, signal);
  const two = new Cursor(second, !strict, signal);
  try {
    for (let at = 0; at < total;) {
      const a = await one.at(at);
      const b = await two.at(at);
      const end = Math.min(
        a === undefined ? total : a.start + a.length,
        b === undefined ? total : b.start + b.length,
      );
      const differs = strict && a !== undefined && b !== undefined && !sameStatus(a, b);
      // Past the end of one disk, and where both are known to be zeros, there is nothing to read twice.
      const reads = { first: a?.zero === false, second: b?.zero === false };
      const hasNone = !differs && !reads.first && !reads.second;
      const stop = hasNone ? end : Math.min(end, at + chunkBytes, at < shared ? shared : total);
      if (!hasNone) yield { at, end: stop, reads, differs };
      if (differs) return;
      at = stop;
    }
  } finally {
    await one.close();
    await two.close();
  }
}

/** Waits for both, also when one fails. */
async function both<T>(first: Promise<T>, second: Promise<T>): Promise<readonly [T, T]> {
  await Promise.allSettled([first, second]);
  return [await first, await second];
}

const sameStatus = (one: Extent, two: Extent): boolean =>
  one.present === two.present &&
  one.zero === two.zero &&
  one.data === two.data &&
  (one.offset === undefined) === (two.offset === undefined);

/** The first offset in [at, end) at which the sides differ; a missing side is zeros. */
function differenceOf(
  [first, second]: readonly [Bytes | undefined, Bytes | undefined],
  at: number,
  end: number,
  sameBytes: CommandContext["sameBytes"],
): number | undefined {
  const a = first?.subarray(0, end - at);
  const b = second?.subarray(0, end - at);
  if (a !== undefined && b !== undefined) {
    return sameBytes?.(a, b) === true ? undefined : firstDifference(a, b, at);
  }
  const only = a ?? b;
  if (only === undefined || isZero(only)) return undefined;
  return at + only.findIndex((byte) => byte !== 0);
}

function firstDifference(a: Uint8Array, b: Uint8Array, at: number): number | undefined {
  const words = a.length >>> 2;
  const wideA = new Int32Array(a.buffer, a.byteOffset, words);
  const wideB = new Int32Array(b.buffer, b.byteOffset, words);
  let word = 0;
  while (word < words && wideA[word] === wideB[word]) word++;
  for (let i = word * 4; i < a.length; i++) if (a[i] !== b[i]) return at + i;
  return undefined;
}

/** Follows a disk's extents forward. */
class Cursor {
  private readonly extents: AsyncGenerator<Extent>;
  private current: Extent | undefined;

  constructor(disk: Disk, holes: boolean, signal: AbortSignal | undefined) {
    this.extents = disk.extents({ holes, signal });
  }

  async close(): Promise<void> {
    await this.extents.return(undefined);
  }

  /** The extent that `at` is in; undefined past the end. Offsets must not go back. */
  async at(at: number): Promise<Extent | undefined> {
    while (this.current === undefined || this.current.start + this.current.length <= at) {
      const result = await this.extents.next();
      if (result.done === true) return undefined;
      this.current = result.value;
    }
    return this.current;
  }
}
