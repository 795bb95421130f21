import { PlatterError } from "../errors.ts";
import type { Format, FormatOptionValues } from "../formats/index.ts";
import type { CreateStorageOptions, NewStorage } from "../storage/index.ts";

/** What the file system is told about a new image. */
export function createStorageOptions(
  format: Format,
  values: FormatOptionValues,
): CreateStorageOptions {
  const hint = values["extent_size_hint"];
  return {
    // These have no header that could say that they are unfinished.
    staged: format.name === "raw" || format.name === "luks",
    ...(values["nocow"] === true && { nocow: true }),
    ...(typeof hint === "number" && { extentSizeHint: hint }),
  };
}

/** Runs `task`; an error gets what QEMU says in front of its words for it. */
export async function inQemuWords<T>(prefix: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    const qemu = prefix + (error.details.qemu ?? error.message);
    throw new PlatterError(error.code, error.message, { ...error.details, qemu });
  }
}

/** Removes what was made. The error that led here is the one to report, not one of cleaning up. */
export async function discardQuietly(created: NewStorage): Promise<void> {
  await created.storage.close().catch(() => undefined);
  await created.discard().catch(() => undefined);
}
