import type { HostExtent, HostExtentOptions } from "../storage/index.ts";
import { errnoError } from "./errors.ts";
import { errno } from "./errno.ts";
import type { Libc } from "./libc.ts";

const FS_IOC_FIEMAP = 0xc020_660b;
const headerSize = 32;
const extentSize = 56;
const batch = 256;
/** Write dirty pages out first; without, they can be told as unwritten where space was reserved. */
const syncFirst = 0x0001;
const flag = { last: 0x0001, unwritten: 0x0800, shared: 0x2000 } as const;

interface Batch {
  readonly extents: readonly HostExtent[];
  /** The filesystem said that nothing follows. */
  readonly complete: boolean;
}

/** One call of the FIEMAP ioctl for `[start, end)`, or the negated error number. */
function readBatch(
  libc: Libc,
  fd: number,
  start: number,
  end: number,
  sync = false,
): Batch | number {
  const bytes = new Uint8Array(headerSize + batch * extentSize);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(start), true);
  view.setBigUint64(8, BigInt(end - start), true);
  view.setUint32(16, sync ? syncFirst : 0, true);
  view.setUint32(24, batch, true);
  const result = libc.ioctl(fd, FS_IOC_FIEMAP, bytes);
  if (result < 0) return result;
  const count = view.getUint32(20, true);
  const extents: HostExtent[] = [];
  let last = count === 0;
  for (let i = 0; i < count; i++) {
    const at = headerSize + i * extentSize;
    const flags = view.getUint32(at + 40, true);
    extents.push({
      offset: Number(view.getBigUint64(at, true)),
      length: Number(view.getBigUint64(at + 16, true)),
      kind: (flags & flag.unwritten) === 0 ? "written" : "unwritten",
      shared: (flags & flag.shared) !== 0,
    });
    last ||= (flags & flag.last) !== 0;
  }
  return { extents, complete: last };
}

/** Cuts the extents of batches to `[start, end)` and puts holes between them. */
function* walk(
  libc: Libc,
  fd: number,
  file: string,
  first: Batch,
  start: number,
  end: number,
): Generator<HostExtent, undefined> {
  let at = start;
  let current = first;
  for (;;) {
    for (const extent of current.extents) {
      const from = Math.max(at, extent.offset);
      const to = Math.min(end, extent.offset + extent.length);
      if (to <= from) continue;
      if (from > at) yield { offset: at, length: from - at, kind: "hole", shared: false };
      yield { ...extent, offset: from, length: to - from };
      at = to;
    }
    if (current.complete || at >= end) break;
    const next = readBatch(libc, fd, at, end);
    if (typeof next === "number") throw errnoError(next, "inspect", file, at);
    // A file that is being changed could otherwise keep us here.
    if (!next.extents.some((extent) => extent.offset + extent.length > at)) break;
    current = next;
  }
  if (at < end) yield { offset: at, length: end - at, kind: "hole", shared: false };
  return undefined;
}

/**
 * What the filesystem holds of bytes `[start, end)` of an open file, in order and without gaps.
 * Undefined where the filesystem cannot tell (tmpfs, network filesystems). Throws `E_IO` and the
 * like when reading the extents fails. Source: Linux `Documentation/filesystems/fiemap.rst`.
 *
 * @param file what error messages call it
 */
export function hostExtents(
  libc: Libc,
  fd: number,
  file: string,
  start: number,
  end: number,
  { settled = false }: HostExtentOptions = {},
): Iterable<HostExtent> | undefined {
  if (end <= start) return [];
  const first = readBatch(libc, fd, start, end, settled);
  if (typeof first !== "number") return walk(libc, fd, file, first, start, end);
  if ([errno("EOPNOTSUPP"), errno("ENOTTY"), errno("EINVAL")].includes(-first)) return undefined;
  throw errnoError(first, "inspect", file, start);
}
