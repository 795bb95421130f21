/** Where an installer's kernel is: a pair of files, a directory, or an ISO image. */
import { readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { PlatterError } from "../errors.ts";
import { injectInto, type InjectedFile } from "./cpio.ts";
import { IsoReader } from "./iso-reader.ts";

/** What the user says about it. */
export interface Location {
  /** A directory or an ISO image; undefined when the files are named themselves. */
  readonly tree?: string | undefined;
  /** Paths, within `tree` if there is one; the usual ones are tried if not given. */
  readonly kernel?: string | undefined;
  readonly initrd?: string | undefined;
  /** Files to be added to the root of the initrd. */
  readonly inject?: readonly string[] | undefined;
}

/** A kernel that was found: whole, because it may come out of an image and have files added. */
export interface FoundKernel {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array | undefined;
  /** The ISO image it is from, which the installer wants in its drive. */
  readonly iso: string | undefined;
  /** What it is called where it was found. */
  readonly name: string;
}

/** Where distributions have kernel and initrd on their media and in their trees. */
const usual: ReadonlyArray<readonly [kernel: string, initrd: string]> = [
  ["install.amd/vmlinuz", "install.amd/initrd.gz"],
  ["install/vmlinuz", "install/initrd.gz"],
  ["casper/vmlinuz", "casper/initrd"],
  ["images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"],
  ["boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"],
  ["arch/boot/x86_64/vmlinuz-linux", "arch/boot/x86_64/initramfs-linux.img"],
  ["debian-installer/amd64/linux", "debian-installer/amd64/initrd.gz"],
  ["boot/vmlinuz-virt", "boot/initramfs-virt"],
  ["vmlinuz", "initrd.img"],
  ["vmlinuz", "initrd.gz"],
  ["vmlinuz", "initrd"],
  ["linux", "initrd.gz"],
  ["linux", "initrd"],
];

type Reader = (path: string) => Promise<Uint8Array | undefined>;

/**
 * Finds and reads kernel and initrd.
 *
 * @throws `E_NOT_FOUND` naming what was looked for, `E_UNSUPPORTED` for a URL
 */
export async function findKernel(location: Location): Promise<FoundKernel> {
  const { tree, inject = [] } = location;
  if (tree !== undefined && /^[a-z][a-z0-9+.-]*:\/\//i.test(tree)) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `--location ${tree}: URLs are not supported; fetch the tree first.`,
      {
        field: "location",
        value: tree,
      },
    );
  }
  await using iso = tree === undefined ? undefined : await openTree(tree);
  const read: Reader = iso === undefined ? readFrom(tree) : (path) => iso.read(path);
  const [name, kernel, initrd] = await find(location, read);
  if (initrd === undefined && inject.length > 0) {
    throw new PlatterError("E_INVALID_ARGUMENT", "--initrd-inject needs an initrd to add to.", {
      field: "initrd-inject",
    });
  }
  const files = await Promise.all(inject.map(readInjected));
  return {
    name,
    kernel,
    initrd: initrd === undefined || files.length === 0 ? initrd : injectInto(initrd, files),
    iso: iso === undefined ? undefined : tree,
  };
}

/** An ISO image, or undefined for a directory. */
async function openTree(tree: string): Promise<IsoReader | undefined> {
  const stats = await stat(tree).catch((cause: unknown) => {
    throw notFound(tree, "there is nothing of that name", cause);
  });
  if (stats.isDirectory()) return undefined;
  const iso = await IsoReader.open(tree);
  if (iso !== undefined) return iso;
  throw notFound(
    tree,
    "it is neither a directory nor an ISO 9660 image; a kernel itself is named with kernel=",
  );
}

function readFrom(tree: string | undefined): Reader {
  return async (path) => {
    try {
      return await readFile(tree === undefined ? path : join(tree, path));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return undefined;
      throw new PlatterError("E_IO", `${path} cannot be read: ${(error as Error).message}`, {
        file: path,
        cause: error,
      });
    }
  };
}

async function find(
  { tree, kernel, initrd }: Location,
  read: Reader,
): Promise<readonly [name: string, kernel: Uint8Array, initrd: Uint8Array | undefined]> {
  if (kernel !== undefined) {
    const bytes = await required(kernel, tree, read);
    return [kernel, bytes, initrd === undefined ? undefined : await required(initrd, tree, read)];
  }
  for (const [kernelPath, initrdPath] of usual) {
    const found = await read(kernelPath);
    const behind = found === undefined ? undefined : await read(initrd ?? initrdPath);
    if (found !== undefined && behind !== undefined) return [kernelPath, found, behind];
  }
  const where = tree ?? "";
  throw notFound(
    where,
    "no installer's kernel is where distributions have it; name it with kernel= and initrd=",
  );
}

async function required(path: string, tree: string | undefined, read: Reader): Promise<Uint8Array> {
  const bytes = await read(path);
  if (bytes !== undefined) return bytes;
  throw notFound(
    path,
    tree === undefined ? "there is no such file" : `there is no such file in ${tree}`,
  );
}

async function readInjected(path: string): Promise<InjectedFile> {
  const contents = await readFrom(undefined)(path);
  if (contents === undefined) throw notFound(path, "there is no such file to add to the initrd");
  const { mode } = await stat(path);
  return { name: basename(path), contents, mode: mode & 0o777 };
}

const notFound = (file: string, why: string, cause?: unknown): PlatterError =>
  new PlatterError("E_NOT_FOUND", `--location: ${file}: ${why}.`, { file, cause });
