import { constants } from "node:fs";
import { dirname } from "node:path";
import { hostError, systemCode } from "./errors.ts";
import { openDescriptor } from "./open.ts";
import { closeDescriptor, syncAll } from "./positional.ts";

/** What a system answers that cannot open a directory, or has nothing to do for one. */
const harmless = ["EINVAL", "EACCES", "EPERM", "EISDIR", "EBADF", "ENOTSUP", "EOPNOTSUPP"];

/**
 * Has the name of the file `path` reach stable storage: a file that has been written out can still be lost with
 * its name. Throws what writing throws; `name` is what errors call the file.
 */
export async function syncName(path: string, name: string): Promise<void> {
  let fd: number | undefined;
  try {
    fd = await openDescriptor(dirname(path), constants.O_RDONLY);
    await syncAll(fd);
  } catch (error) {
    if (!harmless.includes(systemCode(error) ?? "")) throw hostError(error, "publish", name);
  } finally {
    if (fd !== undefined) await closeDescriptor(fd);
  }
}
