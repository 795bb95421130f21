import type { CopySource } from "./source.ts";

/** The unit in which an unreadable range is narrowed down. */
const sector = 512;

/**
 * A source whose unreadable sectors read as zeros. Each is reported with its guest offset and the
 * error; other sectors around it keep their contents.
 */
export function salvaging(
  source: CopySource,
  onReadError: (offset: number, error: unknown) => void,
): CopySource {
  const readSectors = async (at: number, into: Uint8Array): Promise<void> => {
    for (let done = 0; done < into.length; done += sector) {
      const bytes = into.subarray(done, Math.min(done + sector, into.length));
      try {
        await source.read(at + done, bytes);
      } catch (error) {
        bytes.fill(0);
        onReadError(at + done, error);
      }
    }
  };
  return {
    size: source.size,
    extents: (options) => source.extents(options),
    async read(at, into) {
      try {
        await source.read(at, into);
      } catch {
        await readSectors(at, into);
      }
    },
  };
}
