import { PlatterError } from "../../errors.ts";
import type { Storage } from "../../storage/index.ts";

/** Fills `into` from `offset`; throws `E_TRUNCATED`, naming `what`, when the storage ends before. */
export async function readFully(
  storage: Storage,
  offset: number,
  into: Uint8Array,
  what: string,
): Promise<void> {
  const count = await storage.read(offset, into);
  if (count < into.length) {
    throw new PlatterError(
      "E_TRUNCATED",
      `${storage.name}: the file ends at ${offset + count}, inside its ${what} (${offset} to ` +
        `${offset + into.length})`,
      { file: storage.name, offset, field: what },
    );
  }
}
