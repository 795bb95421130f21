import type { Preallocation } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import type { WritableStorage } from "../../storage/index.ts";
import { growFile } from "../grow-file.ts";

/** Gives a storage of `old` bytes the length `size`, and the new part its space. */
export async function preallocate(
  storage: WritableStorage,
  old: number,
  size: number,
  mode: Preallocation,
): Promise<void> {
  switch (mode) {
    case "metadata":
      throw new PlatterError(
        "E_UNSUPPORTED",
        `${storage.name}: preallocation=metadata: a raw image has no metadata; use off, falloc or full`,
        {
          file: storage.name,
          field: "preallocation",
          value: mode,
          qemu: `Unsupported preallocation mode: ${mode}`,
        },
      );
    case "off":
      await storage.truncate?.(size);
      // As QEMU does: finding out the alignment of direct I/O later needs an allocated block.
      if (old === 0 && size > 0) await storage.write(0, new Uint8Array(Math.min(4096, size)));
      return;
    case "falloc":
    case "full":
      return growFile(storage, old, size, mode);
  }
}
