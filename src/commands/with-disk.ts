import type { Disk } from "../disk/index.ts";

/**
 * Runs `task` with a disk and closes it. When both fail, the error of the task is the one to tell: that of
 * closing follows from it.
 */
export async function withDisk<Result>(
  disk: Disk,
  task: (disk: Disk) => Promise<Result>,
): Promise<Result> {
  let result: Result;
  try {
    result = await task(disk);
  } catch (error) {
    await disk.close().catch(() => undefined);
    throw error;
  }
  await disk.close();
  return result;
}
