import { PlatterError } from "../errors.ts";
import type { Format, FormatOptionValues } from "../formats/index.ts";
import type {
  CreateStorageOptions,
  NewStorage,
  PublishOptions,
  WritableStorage,
} from "../storage/index.ts";
import type { CommandContext } from "./context.ts";
import { createStorageOptions, discardQuietly } from "./new-image.ts";

/** The files of a new image: its own, and one for guest data where the options ask for that. */
export interface NewFiles {
  readonly storage: WritableStorage;
  readonly dataStorage: WritableStorage | undefined;
  /** Nobody has written to the files yet, and they read as zeros. */
  readonly areEmpty: boolean;
  /** Closes the files and gives them their names, when the image in them is finished. */
  publish(options: PublishOptions): Promise<void>;
  /** Closes the files and removes what was made, leaving what was there before. Throws nothing. */
  discard(): Promise<void>;
}

/**
 * Makes the files for a new image called `name`. A data file is written under a temporary name, for
 * nothing in it says that it is unfinished; it gets its name before the image gets its own.
 *
 * @throws what creating throws, `E_SAME_FILE` when the data file would be the image
 */
export async function createFiles(
  name: string,
  format: Format,
  values: FormatOptionValues,
  context: CommandContext,
  direct?: boolean,
): Promise<NewFiles> {
  const { provider } = context;
  const asked = format.newDataFile?.(values);
  const common: CreateStorageOptions = {
    ...createStorageOptions(format, values),
    ...(direct === true && { direct: true }),
  };
  const created = await provider.create(name, common);
  let data: NewStorage | undefined;
  try {
    if (asked !== undefined) {
      const place = dataFileName(asked.name, name, context);
      data = asked.keep
        ? await keptFile(place, direct, context)
        : await provider.create(place, { ...common, staged: true });
    }
  } catch (error) {
    await discardQuietly(created);
    throw error;
  }
  const isNew = (file: NewStorage | undefined) => file?.storage.isDevice !== true;
  return {
    storage: created.storage,
    dataStorage: data?.storage,
    areEmpty: isNew(created) && isNew(data) && asked?.keep !== true,
    async publish(options) {
      await data?.storage.close();
      await created.storage.close();
      await data?.publish(options);
      await created.publish(options);
    },
    async discard() {
      if (data !== undefined) await discardQuietly(data);
      await discardQuietly(created);
    },
  };
}

/** What the name of a data file that was asked for stands for. */
function dataFileName(reference: string, image: string, { provider }: CommandContext): string {
  if (reference === "") {
    throw new PlatterError("E_INVALID_ARGUMENT", `${image}: data_file names no file`, {
      file: image,
      field: "data_file",
      qemu: "Could not create '': No such file or directory",
    });
  }
  const place = provider.resolve(reference, image, "data-file");
  if (place !== image) return place;
  throw new PlatterError("E_SAME_FILE", `${image}: an image cannot be its own data file`, {
    file: image,
    field: "data_file",
    qemu: `Failed to get shared "resize" lock\nIs another process using the image [${image}]?`,
  });
}

/** An existing file that is to become the data of a new image. */
async function keptFile(
  name: string,
  direct: boolean | undefined,
  { provider }: CommandContext,
): Promise<NewStorage> {
  const storage = await provider.open(name, {
    writable: true,
    lock: "exclusive",
    ...(direct === true && { direct }),
  });
  return {
    // Opened for writing.
    storage: storage as WritableStorage,
    publish: () => Promise.resolve(),
    discard: () => Promise.resolve(),
  };
}
