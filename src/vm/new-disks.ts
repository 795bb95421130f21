/** The disks of a guest to be: which are there, which have to be made, and what making them costs. */
import { stat, statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import {
  create,
  info,
  measure,
  type CommandContext,
  type CreateOptions,
} from "../commands/index.ts";
import { PlatterError } from "../errors.ts";
import type { DiskBus, DiskCache, DiskDiscard, GuestDisk } from "./machine.ts";

/** A disk as the user asks for it. */
export interface DiskRequest {
  readonly path: string;
  /** What to make; undefined for a disk that is there. */
  readonly make?: Omit<CreateOptions, "name" | "onStart"> | undefined;
  /** The format of a disk that is there; found out if not given. */
  readonly format?: string | undefined;
  readonly bus: DiskBus;
  readonly cache: DiskCache;
  readonly discard: DiskDiscard;
}

/** What making a disk takes. All sizes are bytes. */
export interface DiskCost {
  readonly path: string;
  readonly format: string;
  readonly preallocation: string;
  /** Size of the guest's disk. */
  readonly size: number;
  /** Taken from the host at once. */
  readonly now: number;
  /** Taken when the guest has written everywhere. */
  readonly most: number;
  /** Free on the filesystem. */
  readonly free: number;
  /** `full` writes every byte. */
  readonly writesAll: boolean;
}

/** A disk that is going to be the guest's. */
export interface PlannedDisk {
  readonly disk: GuestDisk;
  readonly make: CreateOptions | undefined;
  readonly cost: DiskCost | undefined;
  /** There is something of that name, and the user has said that it may go. */
  readonly replaces: boolean;
}

/**
 * Looks at what there is; makes nothing.
 *
 * @param force whether a disk that is there may be replaced by a new one
 * @throws `E_EXISTS`, `E_NOT_FOUND`, `E_NO_SPACE`, and what opening a disk that is there throws
 */
export async function planDisk(
  request: DiskRequest,
  force: boolean,
  context: CommandContext,
): Promise<PlannedDisk> {
  const { make, bus, cache, discard } = request;
  const path = resolve(request.path);
  const stats = await stat(path).catch(ignoreMissing);
  const place = stats?.isBlockDevice() === true ? "device" : "file";
  const shared = { path, place, bus, cache, discard } as const;
  if (make === undefined) {
    if (stats === undefined) {
      throw new PlatterError(
        "E_NOT_FOUND",
        `${path} does not exist; say with size= how large to make it.`,
        { file: path },
      );
    }
    const [found] = await info({ name: path, format: request.format }, context);
    return {
      disk: { ...shared, format: found!.format },
      make: undefined,
      cost: undefined,
      replaces: false,
    };
  }
  if (stats !== undefined && !force) {
    throw new PlatterError(
      "E_EXISTS",
      `${path} exists; leave size= out to use it as it is, or say --force to replace it by an empty disk.`,
      { file: path },
    );
  }
  const options: CreateOptions = { ...make, name: path };
  const cost = await costOf(options, context);
  if (cost.now > cost.free && place === "file") {
    throw new PlatterError(
      "E_NO_SPACE",
      `${path}: preallocation=${cost.preallocation} takes ${cost.now} bytes at once, and ${cost.free} are free there.`,
      { file: path, field: "preallocation", value: cost.now },
    );
  }
  return {
    disk: { ...shared, format: make.format },
    make: options,
    cost,
    replaces: stats !== undefined,
  };
}

/** Makes a planned disk; nothing for one that is there. */
export async function makeDisk({ make }: PlannedDisk, context: CommandContext): Promise<void> {
  if (make !== undefined) await create(make, context);
}

/** A disk of its backing file's size costs what that size costs. */
async function costOf(options: CreateOptions, context: CommandContext): Promise<DiskCost> {
  const { name, format, backing, formatOptions = {} } = options;
  const size = options.size ?? (await backingSize(backing, name, context));
  const { fullyAllocated } = await measure(
    { size, targetFormat: format, targetOptions: formatOptions },
    context,
  );
  const { preallocation = "off" } = formatOptions;
  const tables = Math.max(0, fullyAllocated - size);
  const inFull = preallocation === "falloc" || preallocation === "full";
  const { bavail, bsize } = await statfs(dirname(name)).catch((cause: unknown) => {
    throw new PlatterError(
      "E_NOT_FOUND",
      `${dirname(name)}, where ${name} is to be, is not there.`,
      { file: name, cause },
    );
  });
  return {
    path: name,
    format,
    preallocation: String(preallocation),
    size,
    now: inFull ? fullyAllocated : preallocation === "metadata" ? tables : 0,
    most: fullyAllocated,
    free: bavail * bsize,
    writesAll: preallocation === "full",
  };
}

async function backingSize(
  backing: CreateOptions["backing"],
  name: string,
  context: CommandContext,
): Promise<number> {
  if (backing === undefined) {
    throw new PlatterError("E_INVALID_ARGUMENT", `${name}: a new disk needs a size=.`, {
      file: name,
      field: "size",
    });
  }
  const file = context.provider.resolve(backing.name, name, "backing");
  const [found] = await info({ name: file, format: backing.format }, context);
  return found!.virtualSize;
}

function ignoreMissing(error: unknown): undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return undefined;
  throw new PlatterError("E_IO", (error as Error).message, { cause: error });
}
