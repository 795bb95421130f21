import { constants } from "node:fs";
import { copyFile, mkdir, open, opendir, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { PlatterError, throwIfAborted } from "../errors.ts";
import { hasProgram, runProgram } from "./run-program.ts";

/** Directories with real files that most systems have, in the order in which they are tried. */
const usual = ["/usr/share", "/usr/lib", "/usr", "/Library"];

/** What was taken from a directory. */
export interface Tree {
  readonly source: string;
  readonly files: number;
  /** Bytes of content. */
  readonly bytes: number;
}

/** What stands for an installed system: a disk with the files of a tree on it. */
export interface FilledDisk {
  readonly tree: Tree;
  /** How the files were put on it. */
  readonly contents: "ext4 filesystem" | "tar archive";
}

/**
 * Makes a sparse raw file of `size` bytes that holds real files, at most `budget` bytes of them: an
 * ext4 filesystem where `mke2fs` is at hand, otherwise a tar archive from the disk's start on.
 *
 * @param directory a working directory, for a copy of the files
 */
export async function fillDisk(
  file: string,
  size: number,
  budget: number,
  options: {
    readonly directory: string;
    readonly source: string | undefined;
    readonly signal: AbortSignal | undefined;
  },
): Promise<FilledDisk> {
  const { directory, signal } = options;
  const staged = join(directory, "tree");
  await mkdir(staged);
  const source = options.source ?? (await firstDirectory());
  const tree = await copyTree(source, staged, budget, signal);
  if (await hasProgram("mke2fs")) {
    await (await open(file, "w")).close();
    await truncate(file, size);
    await runProgram("mke2fs", ["-q", "-F", "-t", "ext4", "-d", staged, file], signal);
    return { tree, contents: "ext4 filesystem" };
  }
  if (!(await hasProgram("tar"))) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      "The lab needs mke2fs (package e2fsprogs) or tar to put files on a disk; install one of them",
    );
  }
  await runProgram("tar", ["-cf", file, "-C", staged, "."], signal);
  await truncate(file, size);
  return { tree, contents: "tar archive" };
}

async function firstDirectory(): Promise<string> {
  for (const directory of usual) {
    try {
      if ((await stat(directory)).isDirectory()) return directory;
    } catch {
      // The next one, then.
    }
  }
  throw new PlatterError(
    "E_NOT_FOUND",
    `None of ${usual.join(", ")} is there: name a directory with files with --tree`,
  );
}

/** Copies regular files, in the order in which they are found, as long as they fit the budget. */
async function copyTree(
  source: string,
  target: string,
  budget: number,
  signal: AbortSignal | undefined,
): Promise<Tree> {
  let files = 0;
  let bytes = 0;
  const pending: Array<readonly [from: string, to: string]> = [[source, target]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [from, to] = next;
    throwIfAborted(signal);
    await mkdir(to, { recursive: true });
    const entries = await opendir(from).catch((error: unknown) => {
      if (from === source) {
        throw new PlatterError("E_NOT_FOUND", `${source}: this is no directory that can be read`, {
          file: source,
          cause: error,
        });
      }
      // A directory further down that may not be read is left out.
      return undefined;
    });
    if (entries === undefined) continue;
    for await (const entry of entries) {
      throwIfAborted(signal);
      const path = join(from, entry.name);
      if (entry.isDirectory()) pending.push([path, join(to, entry.name)]);
      if (!entry.isFile()) continue;
      const { size } = await stat(path);
      // A small file and its inode take a few KiB more than their contents.
      if (bytes + files * 4096 + size > budget) continue;
      try {
        await copyFile(path, join(to, entry.name), constants.COPYFILE_FICLONE);
      } catch {
        continue;
      }
      files++;
      bytes += size;
    }
    if (bytes + files * 4096 > budget * 0.98) break;
  }
  if (files === 0) {
    throw new PlatterError("E_NOT_FOUND", `${source}: there is no file in it that could be read`, {
      file: source,
    });
  }
  return { source, files, bytes };
}
