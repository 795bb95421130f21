import type { GuestOffset } from "../../bytes/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Storage, WritableStorage } from "../../storage/index.ts";
import type { FormatOpenOptions } from "../format.ts";
import { ExtensionType, nameText } from "./extensions.ts";
import { autoclear, incompatible } from "./features.ts";
import type { Header } from "./header.ts";
import { invalid } from "./invalid.ts";

/**
 * The external data file of an image (specification, "External data file name string"): guest
 * clusters lie in it at their own guest offsets, and only the metadata is in the image.
 */
export interface DataFile {
  readonly storage: Storage;
  /** The file read as a raw image is the guest's disk, and has to stay so. */
  readonly raw: boolean;
}

/** What a header says of an external data file. Undefined: the data is in the image. */
export function dataFileOf({
  fields,
  extensions,
}: Header): { readonly name: string | undefined; readonly raw: boolean } | undefined {
  if ((fields.incompatible_features & incompatible.dataFile) === 0n) return undefined;
  const found = extensions.find(({ type }) => type === ExtensionType.dataFile);
  return {
    name: found === undefined ? undefined : nameText(found.data),
    raw: (fields.autoclear_features & autoclear.rawData) !== 0n,
  };
}

/**
 * Opens the data file that an image needs. Undefined where it has none. Without `open`, the image is
 * there for its structure: nothing can be read from what stands in for the file. Throws `E_CORRUPT` when the header contradicts itself.
 */
export async function openDataFile(
  header: Header,
  file: string,
  open: FormatOpenOptions["openDataFile"],
): Promise<DataFile | undefined> {
  const named = dataFileOf(header);
  if (named !== undefined && open === undefined) {
    return { storage: withheld(named.name ?? "", file), raw: named.raw };
  }
  if (named === undefined || open === undefined) {
    if (open === undefined || (header.fields.autoclear_features & autoclear.rawData) === 0n)
      return undefined;
    throw invalid(file, "E_CORRUPT", "data-file-raw requires a data file", {
      field: "autoclear_features",
      value: header.fields.autoclear_features,
    });
  }
  if (named.name === undefined || named.name === "") {
    throw invalid(file, "E_CORRUPT", "'data-file' is required for this image", {
      field: "header extension 0x44415441",
      advice: "the image does not name the file that has its data",
    });
  }
  return { storage: await open(named.name), raw: named.raw };
}

/** Stands in for a data file that was not opened. */
function withheld(name: string, image: string): Storage {
  const refuse = (): never => {
    throw new PlatterError(
      "E_REFERENCE_DENIED",
      `${image}: the guest's data is in "${name}", which was not opened; only the structure of the ` +
        `image can be looked at`,
      { file: image, field: "data file", value: name },
    );
  };
  return {
    name,
    size: Infinity,
    read: () => Promise.resolve().then(refuse),
    close: () => Promise.resolve(),
  };
}

const zeros = new Uint8Array(1024 * 1024);

/**
 * Makes the bytes [start, end) of a data file read as zeros, giving their space back with `unmap`. What
 * lies past its end is left alone. The caller owns these clusters.
 */
export async function zeroDataFile(
  storage: WritableStorage,
  start: GuestOffset,
  end: GuestOffset,
  unmap: boolean,
): Promise<void> {
  const stop = Math.min(end, storage.size);
  if (start >= stop) return;
  if ((await storage.zero?.(start, stop - start, { unmap })) === true) return;
  for (let at: number = start; at < stop; at += zeros.length) {
    await storage.write(at, zeros.subarray(0, Math.min(zeros.length, stop - at)));
  }
}

/** Gives the space of [start, end) in a data file back to the host, if it takes it. */
export async function discardInDataFile(
  storage: WritableStorage,
  start: GuestOffset,
  end: GuestOffset,
): Promise<void> {
  const stop = Math.min(end, storage.size);
  // A host that cannot give the space back loses nothing but the space.
  if (start < stop) await storage.zero?.(start, stop - start, { unmap: true }).catch(() => false);
}

/**
 * Makes a data file `size` bytes long; with `exact` false it may be longer. One of fixed size, a
 * device, has to be large enough.
 */
export async function fitDataFile(
  storage: WritableStorage,
  size: number,
  exact: boolean,
): Promise<void> {
  if (storage.size === size || (storage.size > size && !exact)) return;
  if (storage.truncate !== undefined) return storage.truncate(size);
  if (storage.size > size) return;
  throw invalid(storage.name, "E_NO_SPACE", "Cannot grow device files", {
    field: "data file",
    value: storage.size,
    advice: `the disk needs ${size} bytes`,
  });
}
