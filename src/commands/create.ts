import { alignUp } from "../bytes/index.ts";
import type { BackingReference } from "../disk/index.ts";
import { inQemuWords, PlatterError } from "../errors.ts";
import {
  encryptionServices,
  formatNamed,
  type Format,
  type FormatOptionValues,
} from "../formats/index.ts";
import type { CommandContext } from "./context.ts";
import { createFiles } from "./new-files.ts";
import { openBehind } from "./open.ts";
import { refuseSameFile } from "./same-file.ts";

/** What to create. */
export interface CreateOptions {
  readonly name: string;
  readonly format: string;
  /** Bytes; rounded up to a multiple of 512. Taken from the backing image when absent. */
  readonly size?: number | undefined;
  readonly backing?: BackingReference | undefined;
  /** Do not look at the backing image (`-u`); `size` is needed then. */
  readonly unsafe?: boolean | undefined;
  /** Creation options by name. */
  readonly formatOptions?: FormatOptionValues | undefined;
  /** Everything is on stable storage before the result is reported. */
  readonly sync?: boolean | undefined;
  /** Told what is about to be made, before anything is. */
  readonly onStart?: ((plan: CreateResult) => void) | undefined;
}

/** What was created. */
export interface CreateResult {
  readonly name: string;
  readonly format: string;
  /** As asked for, in bytes. */
  readonly size: number;
  /** The options in effect, in the order in which QEMU prints them. */
  readonly options: ReadonlyArray<readonly [name: string, value: string | number | boolean]>;
}

/** Creates an empty image. A file of that name is replaced, if nobody has it open. */
export async function create(
  options: CreateOptions,
  context: CommandContext,
): Promise<CreateResult> {
  const { name, backing, formatOptions = {}, sync = false } = options;
  const format = creatable(formatNamed(options.format, "create"), name);
  if (backing !== undefined && format.hasBacking !== true)
    throw backingUnsupported(format.name, name);
  if (backing?.name === name) {
    throw new PlatterError("E_SAME_FILE", `${name}: an image cannot be its own backing file`, {
      file: name,
      field: "backing_file",
      qemu: `${name}: Error: Trying to create an image with the same filename as the backing file`,
    });
  }
  const size = await sizeOf(options, context);
  // Throws for a name that cannot be made at all.
  await inQemuWords(`${name}: `, () => context.provider.exists(name));
  const result = describe(options, format, size);
  options.onStart?.(result);
  const created = await inQemuWords(`${name}: `, () =>
    createFiles(name, format, formatOptions, context),
  );
  try {
    const made = await inQemuWords(`${name}: `, async () =>
      format.create!(created.storage, {
        size: alignUp(size, 512),
        backing,
        values: formatOptions,
        dataStorage: created.dataStorage,
        encryption: await encryptionServices(context),
      }),
    );
    await made.finish({ durable: sync });
    await created.publish({ durable: sync });
  } catch (error) {
    await created.discard();
    throw error;
  }
  return result;
}

async function sizeOf(options: CreateOptions, context: CommandContext): Promise<number> {
  const { name, size, backing, unsafe = false } = options;
  if (unsafe && backing !== undefined && backing.format === undefined) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `${name}: the backing file "${backing.name}" is named without its format; say which it is`,
      {
        file: name,
        field: "backing_fmt",
        qemu: `${name}: Backing file specified without backing format`,
      },
    );
  }
  const fromBacking =
    backing === undefined || unsafe ? undefined : await backingSize(options, backing, context);
  const chosen = size ?? fromBacking;
  if (chosen !== undefined) return chosen;
  throw new PlatterError("E_INVALID_ARGUMENT", `${name}: a new image needs a size`, {
    file: name,
    field: "size",
    qemu: `${name}: Image creation needs a size parameter`,
  });
}

/** Opens the backing image, which also proves that it can be opened. */
async function backingSize(
  { name, format, formatOptions = {} }: CreateOptions,
  backing: BackingReference,
  context: CommandContext,
): Promise<number> {
  try {
    await using closed = await openBehind(backing, name, context);
    const dataFile = formatNamed(format, "create").newDataFile?.(formatOptions);
    if (dataFile !== undefined) {
      const place = context.provider.resolve(dataFile.name, name, "data-file");
      await refuseSameFile([closed], place, context);
    }
    if (backing.format === undefined) {
      const detected = closed.image.format;
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `${name}: the backing file "${backing.name}" is named without its format; it looks like ` +
          `${detected}: say so if that is right`,
        {
          file: name,
          field: "backing_fmt",
          qemu: `${name}: Backing file specified without backing format\nDetected format of ${detected}.`,
        },
      );
    }
    return closed.size;
  } catch (error) {
    if (!(error instanceof PlatterError) || error.details.field === "backing_fmt") throw error;
    const words = error.details.qemu ?? error.message;
    throw new PlatterError(error.code, `${name}: backing file: ${error.message}`, {
      ...error.details,
      qemu: `${name}: ${words}\nCould not open backing image.\n`,
      cause: error,
    });
  }
}

/** The options in effect, for the user to see. */
function describe(options: CreateOptions, format: Format, size: number): CreateResult {
  const { name, backing, formatOptions = {} } = options;
  const values = new Map<string, string | number | boolean | undefined>([
    ...Object.entries(formatOptions),
    ["size", size],
    ["backing_file", backing?.name],
    ["backing_fmt", backing?.format],
  ]);
  const known = format.createOptions ?? [];
  const defaults = new Map(known.map((option) => [option.name, option.default]));
  const ofFile = known.filter((option) => option.file === true).map((option) => option.name);
  const order = [...printOrder.filter((key) => !ofFile.includes(key)), ...ofFile];
  return {
    name,
    format: format.name,
    size,
    options: order.flatMap((key) => {
      const value = values.get(key) ?? defaults.get(key);
      return value === undefined ? [] : [[key, value] as const];
    }),
  };
}

/** The order in which QEMU prints creation options; those of the file come last. */
const printOrder = [
  "cluster_size",
  "extended_l2",
  "preallocation",
  "compression_type",
  "size",
  "compat",
  "backing_file",
  "backing_fmt",
  "data_file",
  "data_file_raw",
  "keep_data_file",
  "lazy_refcounts",
  "refcount_bits",
];

function creatable(format: Format, name: string): Format {
  if (format.create !== undefined) return format;
  throw new PlatterError("E_UNSUPPORTED", `${name}: ${format.name} images can only be read`, {
    file: name,
    field: "format",
    value: format.name,
    qemu: `${name}: Format driver '${format.name}' does not support image creation`,
  });
}

function backingUnsupported(format: string, name: string): PlatterError {
  return new PlatterError(
    "E_INVALID_ARGUMENT",
    `${name}: a ${format} image cannot have a backing file; use qcow2`,
    {
      file: name,
      field: "backing_file",
      qemu: `${name}: Backing file not supported for file format '${format}'`,
    },
  );
}
