import type { Disk, Extent, ExtentOptions } from "../disk/index.ts";

/** What can be copied: a disk, or several one after the other. */
export interface CopySource {
  readonly size: number;
  extents(options?: ExtentOptions): AsyncGenerator<Extent>;
  read(at: number, into: Uint8Array): Promise<void>;
}

/** The disks one after the other, as one. Offsets of extents are in the whole. */
export function concatenate(disks: readonly Disk[]): CopySource {
  const [only] = disks;
  if (disks.length === 1 && only !== undefined) return only;
  let size = 0;
  const parts = disks.map((disk) => {
    const start = size;
    size += disk.size;
    return { disk, start, end: size };
  });
  return {
    size,
    async *extents({ start = 0, end = size, ...options } = {}) {
      for (const part of parts) {
        const from = Math.max(start, part.start);
        const to = Math.min(end, part.end);
        if (from >= to) continue;
        const range = { ...options, start: from - part.start, end: to - part.start };
        for await (const extent of part.disk.extents(range)) {
          yield { ...extent, start: extent.start + part.start };
        }
      }
    },
    async read(at, into) {
      for (const part of parts) {
        const from = Math.max(at, part.start);
        const to = Math.min(at + into.length, part.end);
        if (from < to) await part.disk.read(from - part.start, into.subarray(from - at, to - at));
      }
    },
  };
}
