import type { BigIntStats } from "node:fs";
import { readFile, readlink, stat } from "node:fs";
import { dirname, resolve } from "node:path";
import { systemCode, systemError } from "./errors.ts";
import { promised } from "./promised.ts";

const mostLinks = 40;

/**
 * The path at the end of symbolic links, which need not exist: a file created there appears under
 * the link's name. Throws `E_INVALID_ARGUMENT` for links in a circle.
 *
 * @param name what error messages call it
 */
export async function followLinks(path: string, name: string): Promise<string> {
  let current = path;
  for (let links = 0; links < mostLinks; links++) {
    try {
      current = resolve(
        dirname(current),
        await promised<string>((done) => readlink(current, done)),
      );
    } catch {
      // Not a link, or nothing at all.
      return current;
    }
  }
  throw systemError("ELOOP", "create", name);
}

/** Whether a file is mounted at `path` (containers do that); such a name cannot be given away. */
async function isMountPoint(path: string): Promise<boolean> {
  let table: string;
  try {
    table = await promised<string>((done) => readFile("/proc/self/mountinfo", "utf8", done));
  } catch {
    return false;
  }
  const unescape = (field: string): string =>
    field.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
      String.fromCharCode(parseInt(digits, 8)),
    );
  const full = resolve(path);
  return table.split("\n").some((line) => unescape(line.split(" ")[4] ?? "") === full);
}

/** Whether the directory lets only the owner of a file replace it (as /tmp), and that is not us. */
async function isSticky(path: string, stats: BigIntStats): Promise<boolean> {
  const user = process.geteuid?.();
  if (user === undefined || user === 0) return false;
  try {
    const directory = await promised<BigIntStats>((done) =>
      stat(dirname(path), { bigint: true }, done),
    );
    const sticky = (directory.mode & 0o1000n) !== 0n;
    return sticky && stats.uid !== BigInt(user) && directory.uid !== BigInt(user);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return true;
  }
}

/**
 * Whether a new file under the name of an existing one would be as good as the old one: not when it
 * has further names, is a mount point, or may be written but not replaced.
 */
export async function isReplaceable(path: string, stats: BigIntStats): Promise<boolean> {
  return stats.nlink === 1n && !(await isSticky(path, stats)) && !(await isMountPoint(path));
}
