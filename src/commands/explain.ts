import {
  HostAllocation,
  HostState,
  Place,
  placeTotals,
  walkPlaces,
  type DecodedField,
  type Image,
  type LayoutPart,
  type LayoutRole,
} from "../disk/index.ts";
import type { CommandContext } from "./context.ts";
import { inspectImage } from "./inspect.ts";

/** Which image to explain. */
export interface ExplainOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** Cells of the pictures of file and disk; none without it. */
  readonly width?: number | undefined;
}

/** What bytes of an image file are, by the image and the host together. */
export type FilePart =
  | Exclude<LayoutRole, "free">
  | "preallocated on a hole"
  | "preallocated and unwritten"
  | "free"
  | "holes";

/** The bytes of one kind. */
export interface PartTotal {
  readonly part: FilePart;
  readonly bytes: number;
  /** How many of them the host has allocated; undefined where it does not tell. */
  readonly allocated: number | undefined;
}

/** Where the bytes of an image file go. All sizes are bytes. */
export interface ExplainResult {
  readonly filename: string;
  readonly format: string;
  readonly virtualSize: number;
  readonly clusterSize: number | undefined;
  readonly fileLength: number;
  /** What the host has allocated for the file in all. */
  readonly allocated: number | undefined;
  /** They add up to the file's length. Parts that do not occur are left out. */
  readonly parts: readonly PartTotal[];
  /**
   * What the host has allocated besides the bytes of the file: the rest of its last block, space
   * behind its end, lists of blocks. With the parts it adds up to `allocated`.
   */
  readonly overhead: number | undefined;
  /** What most of each equal piece of the file is. */
  readonly fileStrip: readonly FilePart[];
  /** What most of each equal piece of the guest's disk is. */
  readonly diskStrip: readonly Place[];
  readonly fields: readonly DecodedField[];
}

/** The parts in the order in which they are listed. */
const order: readonly FilePart[] = [
  "header",
  "refcount table",
  "refcount blocks",
  "L1 table",
  "L2 tables",
  "data",
  "compressed",
  "preallocated and unwritten",
  "preallocated on a hole",
  "zeroed",
  "bitmaps",
  "snapshot tables",
  "snapshot data",
  "leaked",
  "unknown",
  "free",
  "holes",
];

/** See the function of the same name in lazy.ts. */
export async function explain(
  options: ExplainOptions,
  context: CommandContext,
): Promise<ExplainResult> {
  await using opened = await inspectImage(options.name, options.format, context);
  const { storage, disk } = opened;
  const { image } = disk;
  const { width = 0 } = options;
  const allocation = await HostAllocation.read(storage);
  // Decides what the holes are where the host does not list extents.
  await placeTotals(disk, allocation, context);
  const layout = await image.layout?.(context);
  const totals = new Map<FilePart, { bytes: number; allocated: number }>();
  const strip = new Strip(order.length, width, storage.size);
  for (const run of layout?.parts() ?? wholeFile(image)) {
    allocation.each(run.start, run.end - run.start, (state, offset, length) => {
      const part = partOf(run.role, state, image);
      const total = totals.get(part) ?? { bytes: 0, allocated: 0 };
      total.bytes += length;
      if (state !== HostState.hole) total.allocated += length;
      totals.set(part, total);
      strip.add(order.indexOf(part), offset, length);
    });
  }
  const places = new Strip(Object.keys(Place).length, width, disk.size);
  if (width > 0) {
    const add = (place: Place, start: number, length: number) => places.add(place, start, length);
    await walkPlaces(disk, allocation, add, context);
  }
  const isKnown = allocation.isKnown;
  const parts = order.flatMap((part): PartTotal[] => {
    const total = totals.get(part);
    if (total === undefined) return [];
    return [{ part, bytes: total.bytes, allocated: isKnown ? total.allocated : undefined }];
  });
  const allocated = storage.isDevice === true ? undefined : await storage.allocatedBytes?.();
  const inFile = parts.reduce((sum, part) => sum + (part.allocated ?? 0), 0);
  return {
    filename: storage.name,
    format: image.format,
    virtualSize: disk.size,
    clusterSize: image.clusterSize > 1 ? image.clusterSize : undefined,
    fileLength: storage.size,
    allocated,
    parts,
    overhead: isKnown && allocated !== undefined ? allocated - inFile : undefined,
    fileStrip: strip.cells().map((cell) => order[cell]!),
    diskStrip: places.cells().map((cell) => cell as Place),
    fields: layout?.fields ?? [],
  };
}

/** A format without tables: all of the file is the disk. */
function wholeFile({ storage }: Image): LayoutPart[] {
  return [{ role: "data", start: 0, end: storage.size }];
}

function partOf(role: LayoutRole, state: HostState, image: Image): FilePart {
  if (role === "free") return state === HostState.hole ? "holes" : "free";
  if (role === "snapshot data" && state === HostState.hole) return "preallocated on a hole";
  if (role !== "data") return role;
  if (state === HostState.reserved) return "preallocated and unwritten";
  if (state !== HostState.hole) return "data";
  return image.isTransparent === true ? "holes" : "preallocated on a hole";
}

/** A range in equal cells, each of which shows what most of it is. */
class Strip {
  private readonly kinds: number;
  private readonly width: number;
  private readonly cellSize: number;
  private readonly bytes: Float64Array;

  constructor(kinds: number, width: number, size: number) {
    this.kinds = kinds;
    this.width = size === 0 ? 0 : width;
    this.cellSize = size / Math.max(1, width);
    this.bytes = new Float64Array(this.width * kinds);
  }

  /** Counts `length` bytes of one kind from `offset` on. */
  add(kind: number, offset: number, length: number): void {
    const end = offset + length;
    const first = Math.floor(offset / this.cellSize);
    for (let cell = first; cell < this.width && cell * this.cellSize < end; cell++) {
      const from = Math.max(offset, cell * this.cellSize);
      const to = Math.min(end, (cell + 1) * this.cellSize);
      this.bytes[cell * this.kinds + kind]! += Math.max(0, to - from);
    }
  }

  /** The main kind of each cell. */
  cells(): number[] {
    return Array.from({ length: this.width }, (_, cell) => {
      const counts = this.bytes.subarray(cell * this.kinds, (cell + 1) * this.kinds);
      return counts.indexOf(Math.max(...counts));
    });
  }
}
