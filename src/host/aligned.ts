import type { Bytes } from "../bytes/index.ts";
import { requireKoffi, type ForeignInterface } from "./foreign.ts";

/** Length of a cache line on the processors that Node runs on. */
const line = 64;

const pageBytes = 65_536;

/** A buffer that starts with a page: WebAssembly's memory does, and needs no koffi. For few and large ones. */
export const pagesOf = (length: number): Bytes =>
  new Uint8Array(
    new WebAssembly.Memory({ initial: Math.max(1, Math.ceil(length / pageBytes)) }).buffer,
  );

let foreign: ForeignInterface | undefined | null;

/**
 * A buffer that starts with a cache line. Allocators for large pieces put 16 bytes of their own in front;
 * where the kernel copies with `rep movsb`, reading into such a piece takes twice the time. Without
 * koffi nobody can tell where a buffer is: then it is any.
 */
export function alignedBytes(length: number): Bytes {
  foreign ??= findForeign();
  if (foreign === null) return new Uint8Array(length);
  const bytes = new Uint8Array(length + line);
  const before = Number(-foreign.address(bytes) & BigInt(line - 1));
  return bytes.subarray(before, before + length);
}

function findForeign(): ForeignInterface | null {
  try {
    return requireKoffi();
  } catch {
    return null;
  }
}
