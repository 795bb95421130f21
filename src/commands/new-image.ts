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

/** Removes what was made. The error that led here is the one to report, not one of cleaning up. */
export async function discardQuietly(created: NewStorage): Promise<void> {
  await created.storage.close().catch(() => undefined);
  await created.discard().catch(() => undefined);
}
