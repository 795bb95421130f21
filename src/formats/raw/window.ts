import type { Storage } from "../../storage/index.ts";
import type { RuntimeOptions } from "../format.ts";
import { runtimeError, runtimeSize } from "../runtime-values.ts";
import type { RawWindow } from "./image.ts";

const sector = 512;

/**
 * The part of the storage that the options `offset` and `size` choose.
 *
 * @throws `E_INVALID_ARGUMENT` with QEMU's words for one that is not inside the storage
 */
export function rawWindow(storage: Storage, options: RuntimeOptions): RawWindow {
  const { offset: givenOffset, size: givenSize } = options;
  const file = storage.name;
  const offset = givenOffset === undefined ? 0 : runtimeSize(file, "offset", givenOffset);
  const size = givenSize === undefined ? undefined : runtimeSize(file, "size", givenSize);
  const length = storage.size;
  if (offset > length) {
    const qemu = `Offset (${offset}) cannot be greater than size of the containing file (${length})`;
    throw runtimeError(file, "offset", offset, qemu);
  }
  if (size !== undefined && offset + size > length) {
    const qemu =
      `The sum of offset (${offset}) and size (${size}) has to be smaller or equal to the ` +
      ` actual size of the containing file (${length})`;
    throw runtimeError(file, "size", size, qemu);
  }
  if (size !== undefined && size % sector !== 0) {
    throw runtimeError(file, "size", size, "Specified size is not multiple of 512");
  }
  return { offset, size };
}
