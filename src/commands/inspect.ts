import { Disk } from "../disk/index.ts";
import { formatNamed, probe } from "../formats/index.ts";
import type { Storage } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";
import { asOpenError } from "./open.ts";

/** An image opened for looking at its structure: alone, without the images behind it. */
export interface Inspected extends AsyncDisposable {
  readonly storage: Storage;
  /** The disk as this image alone has it. */
  readonly disk: Disk;
}

/**
 * Opens one image file to look at how it is stored. Nothing that it names is opened, and a guest may
 * be running on it: the numbers are then those of one moment.
 */
export async function inspectImage(
  name: string,
  format: string | undefined,
  { provider, codecs }: CommandContext,
): Promise<Inspected> {
  let storage: Storage | undefined;
  try {
    storage = await provider.open(name, { writable: false, lock: "none" });
    const found = format === undefined ? await probe(storage) : formatNamed(format, "open");
    if (found.name !== "raw") storage.lock?.("shared");
    const image = await found.open(storage, { writable: false, inspect: true });
    const disk = new Disk(image, undefined, codecs);
    return { storage, disk, [Symbol.asyncDispose]: () => disk.close() };
  } catch (error) {
    await storage?.close();
    throw asOpenError(error, name);
  }
}
