/**
 * The small Linux that the guests of `lab --guest` run: Debian's kernel for clouds, busybox and fio. Its packages are
 * fetched with apt-get, not installed, taken apart, and kept as a kernel and an initrd in the user's cache.
 */
import { createHash } from "node:crypto";
import {
  glob,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { PlatterError } from "../errors.ts";
import { cpioArchive, runProgram, type InjectedFile } from "../vm/index.ts";

/** A kernel and what it starts with. */
export interface GuestSystem {
  readonly kernel: string;
  /** An archive to which the work to be done is appended. */
  readonly initrd: Uint8Array;
}

/** Where a system comes from. */
export interface GuestSystemOptions {
  /** A kernel of the user's, with virtio built in or among `modules` of the initrd. */
  readonly kernel?: string | undefined;
  /** With `kernel`: an initrd with `/busybox`, `/fio` and what they need. */
  readonly initrd?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told once if packages have to be fetched, which takes a while. */
  readonly onFetch?: (() => void) | undefined;
}

/** The kernel's modules that the guest needs, in the order in which they are loaded. */
export const guestModules = [
  "virtio_ring",
  "virtio",
  "virtio_pci_legacy_dev",
  "virtio_pci_modern_dev",
  "virtio_pci",
  "virtio_blk",
] as const;

const kernelPackage = "linux-image-cloud-amd64";
const patience = 300_000;
/** Part of the cache's name: another number for other contents. */
const edition = 1;

/**
 * The user's system, or Debian's.
 *
 * @throws `E_NOT_FOUND` when packages cannot be had, naming them; `E_INVALID_ARGUMENT` for an initrd without kernel
 */
export async function guestSystem(options: GuestSystemOptions): Promise<GuestSystem> {
  const { kernel, initrd } = options;
  if ((kernel === undefined) !== (initrd === undefined)) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      "A kernel needs an initrd with busybox and fio, and an initrd a kernel: give both or neither.",
      { field: kernel === undefined ? "kernel" : "initrd" },
    );
  }
  if (kernel !== undefined && initrd !== undefined) {
    return { kernel, initrd: await readGiven(initrd) };
  }
  const directory = join(cacheDirectory(), `guest-${edition}`);
  if (!(await isThere(directory))) await make(directory, options);
  return {
    kernel: join(directory, "vmlinuz"),
    initrd: new Uint8Array(await readFile(join(directory, "initrd"))),
  };
}

/** `$XDG_CACHE_HOME/platter`, by the XDG rules. */
function cacheDirectory(): string {
  const { XDG_CACHE_HOME: given = "" } = process.env;
  return join(given.startsWith("/") ? given : join(homedir(), ".cache"), "platter");
}

async function readGiven(path: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw new PlatterError("E_NOT_FOUND", `${path}: the initrd cannot be read.`, {
      file: path,
      cause: error,
    });
  }
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function make(directory: string, { signal, onFetch }: GuestSystemOptions): Promise<void> {
  if (process.arch !== "x64") {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `The guest's packages are those for amd64, and this is ${process.arch}: give --kernel and --initrd.`,
      { value: process.arch },
    );
  }
  onFetch?.();
  const parent = join(directory, "..");
  await mkdir(parent, { recursive: true });
  const work = await mkdtemp(`${directory}-`);
  try {
    const tree = await fetchPackages(work, signal);
    const kernel = await only(join(tree, "boot/vmlinuz-*"), kernelPackage);
    const whole = join(work, "whole");
    await mkdir(whole);
    await writeFile(join(whole, "initrd"), cpioArchive(await filesOf(tree, signal)));
    await rename(kernel, join(whole, "vmlinuz"));
    await rename(whole, directory);
  } catch (error) {
    // Another one may have been quicker.
    if (!(await isThere(directory))) throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Fetches the packages and unpacks them into one tree. */
async function fetchPackages(work: string, signal: AbortSignal | undefined): Promise<string> {
  const names = [
    await currentKernel(signal),
    "busybox-static",
    ...(await librariesOf("fio", signal)),
  ];
  const download = await apt("apt-get", ["-q", "download", ...names], work, signal);
  if (download !== 0) throw missing(names.slice(0, 3).join(", "));
  const tree = join(work, "tree");
  for (const file of await readdir(work)) {
    if (!file.endsWith(".deb")) continue;
    const { status } = await runProgram("dpkg-deb", ["-x", join(work, file), tree], {
      timeout: patience,
      signal,
    });
    if (status !== 0) throw missing(file);
  }
  return tree;
}

/** Runs a program of apt's in a directory. */
async function apt(
  program: string,
  words: readonly string[],
  cwd: string,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const line = ["-C", cwd, program, ...words];
  const { status } = await runProgram("env", line, { timeout: patience, signal });
  return status;
}

async function depends(words: readonly string[], signal: AbortSignal | undefined): Promise<string> {
  const { stdout } = await runProgram("apt-cache", ["depends", ...words], {
    timeout: patience,
    signal,
  });
  return stdout;
}

/** The package that the one without a version stands for. */
async function currentKernel(signal: AbortSignal | undefined): Promise<string> {
  const found = /Depends: (linux-image-\S+)/.exec(await depends([kernelPackage], signal))?.[1];
  if (found === undefined) throw missing(kernelPackage);
  return found;
}

/** A package and the libraries below it. */
async function librariesOf(name: string, signal: AbortSignal | undefined): Promise<string[]> {
  const no = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
  const words = ["--recurse", ...no.map((kind) => `--no-${kind}`), name];
  const all = (await depends(words, signal)).split("\n").filter((line) => /^[a-z0-9]/.test(line));
  if (!all.includes(name)) throw missing(name);
  const isLibrary = (other: string): boolean =>
    /^(lib|zlib)/.test(other) && !/perl|python|pam|semanage/.test(other);
  return all.filter((other) => other === name || isLibrary(other));
}

const missing = (what: string): PlatterError =>
  new PlatterError(
    "E_NOT_FOUND",
    `Debian's packages for the guest cannot be fetched with apt-get (${what}): is there a network, and is ` +
      `"apt-get update" done? A kernel and an initrd of your own can be given with --kernel and --initrd.`,
    { value: what },
  );

async function only(pattern: string, what: string): Promise<string> {
  for await (const found of glob(pattern)) return found;
  throw missing(what);
}

/** What goes into the initrd: all in its root, as busybox and the loader can use it there. */
async function filesOf(tree: string, signal: AbortSignal | undefined): Promise<InjectedFile[]> {
  const modules = await Promise.all(
    guestModules.map((name) => only(join(tree, `lib/modules/*/kernel/**/${name}.ko`), name)),
  );
  const busybox = await only(join(tree, "{,usr/}bin/busybox"), "busybox-static");
  const fio = join(tree, "usr/bin/fio");
  const loader = await only(
    join(tree, "{,usr/}lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
    "libc6",
  );
  const places = ["lib", "usr/lib"].map((place) => join(tree, place, "x86_64-linux-gnu"));
  const ceph = join(tree, "usr/lib/x86_64-linux-gnu/ceph");
  const path = [...places, ceph].join(":");
  const list = await runProgram(loader, ["--library-path", path, "--list", fio], {
    timeout: patience,
    signal,
  });
  const libraries = [...list.stdout.matchAll(/=> (\/\S+)/g)].map(([, file]) => file!);
  if (list.status !== 0 || libraries.length === 0) throw missing("fio");
  const files = [...modules, busybox, fio, loader, ...libraries];
  return Promise.all(
    [...new Set(files)].map(async (file) => ({
      name: basename(file),
      contents: new Uint8Array(await readFile(file)),
      mode: 0o755,
    })),
  );
}

/** What a system is, for a report: the same for the same kernel. */
export async function systemName({ kernel }: GuestSystem): Promise<string> {
  const bytes = await readFile(kernel);
  const offset = bytes.readUInt16LE(0x20e) + 0x200;
  const version = bytes.subarray(offset, bytes.indexOf(0, offset)).toString("latin1");
  // The boot protocol's pointer to the version (Linux: Documentation/arch/x86/boot.rst, kernel_version).
  if (/^\d+\.\d+/.test(version)) return `Linux ${version.split(" ")[0]}`;
  return `kernel ${createHash("sha256").update(bytes).digest("hex").slice(0, 12)}`;
}
