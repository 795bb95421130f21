import { PlatterError, inQemuWords } from "../errors.ts";
import type { WritableStorage } from "../storage/index.ts";

const zeros = new Uint8Array(1024 * 1024);

/**
 * Makes a file of `old` bytes `size` bytes long, and has the host give the new part its space: reserved, or
 * written with zeros and on stable storage. When that fails, the file is as long as it was.
 *
 * Throws `E_NO_SPACE`, `E_UNSUPPORTED` where the host cannot reserve, and whatever writing throws.
 */
export async function growFile(
  storage: WritableStorage,
  old: number,
  size: number,
  mode: "falloc" | "full",
): Promise<void> {
  if (size <= old) return;
  if (mode === "full") {
    return inQemuWords("Could not write zeros for preallocation: ", () =>
      writeZeros(storage, old, size),
    );
  }
  if (storage.allocate === undefined) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${storage.name}: preallocation=${mode}: the host offers no fallocate; use off or full`,
      {
        file: storage.name,
        field: "preallocation",
        value: mode,
        qemu: `Unsupported preallocation mode: ${mode}`,
      },
    );
  }
  await storage.allocate(old, size - old);
}

async function writeZeros(storage: WritableStorage, old: number, size: number): Promise<void> {
  try {
    // A filesystem that knows the length from the beginning has less to do.
    await storage.truncate?.(size);
    for (let at = old; at < size; at += zeros.length) {
      await storage.write(at, zeros.subarray(0, Math.min(zeros.length, size - at)));
    }
    await storage.flush();
  } catch (error) {
    await storage.truncate?.(old).catch(() => undefined);
    throw error;
  }
}
