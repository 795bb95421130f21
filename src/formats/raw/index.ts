import { alignUp } from "../../bytes/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Storage, WritableStorage } from "../../storage/index.ts";
import type { Preallocation } from "../../disk/index.ts";
import type { Format, FormatCreateOptions, NewImage } from "../format.ts";
import type { Measurement, MeasureOptions } from "../measure.ts";
import { fileOptions } from "../file-options.ts";
import { RawImage } from "./image.ts";
import { preallocate } from "./preallocate.ts";
import { rawWindow } from "./window.ts";

const modes: readonly Preallocation[] = ["off", "metadata", "falloc", "full"];

/** The bytes of the disk and nothing else. */
export const raw: Format = {
  name: "raw",
  probe: () => 1,
  open: async (storage, { writable, runtime = {} }) =>
    new RawImage(checked(storage, writable), writable, rawWindow(storage, runtime)),
  runtimeOptions: ["offset", "size"],
  createOptions: [
    {
      name: "preallocation",
      type: "string",
      help: "Preallocation mode (allowed values: off, falloc, full)",
      file: true,
    },
    ...fileOptions,
  ],
  measure,
  async create(storage, { size, backing, values = {} }: FormatCreateOptions): Promise<NewImage> {
    if (backing !== undefined) {
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `${storage.name}: a raw image cannot have a backing file; use qcow2`,
        {
          file: storage.name,
          field: "backing_file",
          value: backing.name,
          qemu: `Backing file not supported for file format 'raw'`,
        },
      );
    }
    const mode = modes.find((known) => known === (values["preallocation"] ?? "off"));
    if (mode === undefined) {
      const value = String(values["preallocation"]);
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `${storage.name}: preallocation=${value}: a raw image can have off, falloc or full`,
        {
          file: storage.name,
          field: "preallocation",
          value,
          qemu: `invalid parameter value: ${value}`,
        },
      );
    }
    if (size > Number.MAX_SAFE_INTEGER) throw tooLarge(storage, size);
    if (storage.isDevice !== true) await start(storage, size, mode);
    return {
      image: new RawImage(storage, true),
      finish: ({ durable }) => (durable ? storage.flush() : Promise.resolve()),
    };
  },
};

/** A raw image is as large as its disk, whatever is in it. */
function measure({ size }: MeasureOptions): Promise<Measurement> {
  const bytes = alignUp(size, 512);
  return Promise.resolve({ required: bytes, fullyAllocated: bytes });
}

async function start(storage: WritableStorage, size: number, mode: Preallocation): Promise<void> {
  try {
    await preallocate(storage, 0, size, mode);
  } catch (error) {
    if (error instanceof PlatterError && error.code === "E_FILE_TOO_LARGE") {
      throw tooLarge(storage, size, error);
    }
    throw error;
  }
}

function tooLarge(storage: WritableStorage, size: number, cause?: unknown): PlatterError {
  const file = storage.name;
  return new PlatterError(
    "E_FILE_TOO_LARGE",
    `${file}: a file of ${size} bytes is larger than its filesystem or the system allows`,
    {
      file,
      field: "size",
      value: size,
      qemu: "The image size is too large for file format 'raw'",
      cause,
    },
  );
}

function checked(storage: Storage, writable: boolean): Storage {
  if (writable && (storage.write === undefined || storage.flush === undefined)) {
    throw new PlatterError("E_READ_ONLY", `${storage.name}: the storage cannot be written`, {
      file: storage.name,
    });
  }
  return storage;
}
