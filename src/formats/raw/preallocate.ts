import type { Preallocation } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import type { WritableStorage } from "../../storage/index.ts";

const zeros = new Uint8Array(1024 * 1024);

/** Gives a storage of `old` bytes the length `size`, and the new part its space. */
export async function preallocate(
  storage: WritableStorage,
  old: number,
  size: number,
  mode: Preallocation,
): Promise<void> {
  const refuse = (why: string): PlatterError =>
    new PlatterError("E_UNSUPPORTED", `${storage.name}: preallocation=${mode}: ${why}`, {
      file: storage.name,
      field: "preallocation",
      value: mode,
      qemu: `Unsupported preallocation mode: ${mode}`,
    });
  switch (mode) {
    case "metadata":
      throw refuse("a raw image has no metadata; use off, falloc or full");
    case "off":
      await storage.truncate?.(size);
      // As QEMU does: finding out the alignment of direct I/O later needs an allocated block.
      if (old === 0 && size > 0) await storage.write(0, zeros.subarray(0, Math.min(4096, size)));
      return;
    case "falloc":
      if (storage.allocate === undefined) throw refuse("the host offers no fallocate");
      return size > old ? storage.allocate(old, size - old) : undefined;
    case "full":
      await storage.truncate?.(size);
      for (let at = old; at < size; at += zeros.length) {
        await storage.write(at, zeros.subarray(0, Math.min(zeros.length, size - at)));
      }
      return storage.flush();
  }
}
