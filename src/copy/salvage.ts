import type { Bytes } from "../bytes/index.ts";
import type { Gatherer, GuestRange } from "../disk/index.ts";
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
  const gatherSector = async (
    gatherer: Gatherer,
    range: GuestRange,
    at: number,
    into: Bytes,
  ): Promise<void> => {
    const from = range.start - at;
    const bytes = new Uint8Array(range.end - range.start);
    try {
      into.set(await source.gather(gatherer, [range], range.start, bytes), from);
    } catch (error) {
      into.fill(0, from, range.end - at);
      onReadError(range.start, error);
    }
  };
  return {
    size: source.size,
    extents: (options) => source.extents(options),
    async gather(gatherer, ranges, at, into) {
      const { length } = into;
      try {
        return await source.gather(gatherer, ranges, at, into);
      } catch {
        // The buffer may have been lost on the way.
        const filled = into.length === length ? into : new Uint8Array(length);
        for (const { start, end } of ranges) {
          for (let from = start; from < end; from += sector) {
            const range = { start: from, end: Math.min(end, from + sector) };
            await gatherSector(gatherer, range, at, filled);
          }
        }
        return filled;
      }
    },
  };
}
