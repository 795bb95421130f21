import { isZero } from "../bytes/index.ts";
import type { Disk, Extent } from "../disk/index.ts";
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
  const common = { shared, imageOpts, direct, rawLock: "shared" } as const;
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
  { signal, onProgress }: CommandContext,
): Promise<Difference | undefined> {
  const shared = Math.min(first.size, second.size);
  const total = Math.max(first.size, second.size);
  const walks = {
    first: new Cursor(first, !strict, signal),
    second: new Cursor(second, !strict, signal),
  };
  const buffers = { first: new Uint8Array(chunkBytes), second: new Uint8Array(chunkBytes) };
  for (let at = 0; at < total;) {
    throwIfAborted(signal);
    onProgress?.({ done: at, total });
    const one = await walks.first.at(at);
    const two = await walks.second.at(at);
    const end = Math.min(
      one === undefined ? total : one.start + one.length,
      two === undefined ? total : two.start + two.length,
    );
    if (strict && one !== undefined && two !== undefined && !sameStatus(one, two)) {
      return { kind: "allocation", offset: at };
    }
    // Past the end of one disk, and where both are known to be zeros, there is nothing to read twice.
    const oneZero = one?.zero ?? true;
    const twoZero = two?.zero ?? true;
    if (oneZero && twoZero) {
      at = end;
      continue;
    }
    const stop = Math.min(end, at + chunkBytes, at < shared ? shared : total);
    const offset = await differs(
      oneZero ? undefined : { disk: first, buffer: buffers.first },
      twoZero ? undefined : { disk: second, buffer: buffers.second },
      at,
      stop,
    );
    if (offset !== undefined) return { kind: "content", offset };
    at = stop;
  }
  onProgress?.({ done: total, total });
  return undefined;
}

const sameStatus = (one: Extent, two: Extent): boolean =>
  one.present === two.present &&
  one.zero === two.zero &&
  one.data === two.data &&
  (one.offset === undefined) === (two.offset === undefined);

interface Side {
  readonly disk: Disk;
  readonly buffer: Uint8Array;
}

/** The first offset in [at, end) at which the sides differ; a missing side is zeros. */
async function differs(
  one: Side | undefined,
  two: Side | undefined,
  at: number,
  end: number,
): Promise<number | undefined> {
  const [a, b] = await Promise.all([one, two].map((side) => readSide(side, at, end)));
  if (a !== undefined && b !== undefined) return firstDifference(a, b, at);
  const only = a ?? b;
  if (only === undefined || isZero(only)) return undefined;
  return at + only.findIndex((byte) => byte !== 0);
}

async function readSide(
  side: Side | undefined,
  at: number,
  end: number,
): Promise<Uint8Array | undefined> {
  if (side === undefined) return undefined;
  const bytes = side.buffer.subarray(0, end - at);
  await side.disk.read(at, bytes);
  return bytes;
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
