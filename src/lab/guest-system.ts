/**
 * The small Linux that measures in a guest: a kernel, and a RAM filesystem with busybox and fio. Both come from
 * Debian's packages, are made once, and kept in the user's cache; or the user has some.
 */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { PlatterError } from "../errors.ts";
import { cpioArchive, injectInto, lastLine, runProgram } from "../vm/index.ts";

/** What the guest is started with; paths. */
export interface GuestSystem {
  readonly kernel: string;
  readonly initrd: string;
  /** What the kernel shall start first. */
  readonly init: string;
  /** For the report. */
  readonly description: string;
}

/** A kernel of the user's, and a RAM filesystem with `sh`, `cat`, `dd`, `fio`, `mount`, `poweroff` in it. */
export interface OwnSystem {
  readonly kernel: string;
  readonly initrd: string;
}

/** Bumped when the RAM filesystem is made in another way. */
const RECIPE = 1;
const PATIENCE = 300_000;
const META_PACKAGE = "linux-image-cloud-amd64";

/** In the order in which they are loaded. A kernel that has one built in has no file of that name. */
const modules = [
  "virtio_ring",
  "virtio",
  "virtio_pci_legacy_dev",
  "virtio_pci_modern_dev",
  "virtio_pci",
  "virtio_blk",
] as const;

/** In every RAM filesystem: what the kernel starts, or the small init below. It does what the first disk says. */
const RUN = `#!/bin/sh
export PATH=/bin:/usr/bin:/sbin:/usr/sbin:/
[ -e /dev/null ] || mount -t devtmpfs dev /dev
[ -e /proc/version ] || mount -t proc proc /proc
[ -e /sys/block ] || mount -t sysfs sys /sys
modprobe virtio_pci 2>/dev/null
modprobe virtio_blk 2>/dev/null
tries=0
until [ -b /dev/vda ] || [ $tries -ge 100 ]; do sleep 0.1; tries=$((tries + 1)); done
dd if=/dev/vda of=/lab-job bs=64k 2>/dev/null && . /lab-job
poweroff -f
`;

/** In the one that is made here: all is in the root directory, busybox and modules too. */
const INIT = `#!/busybox sh
/busybox mkdir -p /bin /dev /proc /sys /tmp
/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in ${modules.join(" ")}; do [ ! -e /$module.ko ] || insmod /$module.ko; done
printf '#!/bin/sh\\nexec /loader --library-path / /fio.elf "$@"\\n' > /bin/fio
chmod +x /bin/fio
exec /lab-run
`;

/** The directory for what can be made again, by the XDG rules: `$XDG_CACHE_HOME/platter/lab-guest`. */
export function cacheDirectory(variables: Readonly<Record<string, string | undefined>>): string {
  const given = variables["XDG_CACHE_HOME"];
  const cache =
    given !== undefined && given.startsWith("/")
      ? given
      : join(variables["HOME"] ?? homedir(), ".cache");
  return join(cache, "platter/lab-guest");
}

/**
 * The system from the cache; made if it is not there.
 *
 * @throws `E_NOT_FOUND` without Debian's package tools, `E_EXTERNAL` if packages cannot be fetched or unpacked
 */
export async function guestSystem(
  cache: string,
  signal: AbortSignal | undefined,
): Promise<GuestSystem> {
  const cached = await readCache(cache);
  if (cached !== undefined) return cached;
  await mkdir(dirname(cache), { recursive: true });
  const work = await mkdtemp(`${cache}-`);
  try {
    const made = await makeSystem(work, signal);
    await rm(cache, { recursive: true, force: true });
    await rename(made, cache);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const system = await readCache(cache);
  if (system !== undefined) return system;
  throw new PlatterError("E_IO", `${cache}: what was written there is gone.`, { file: cache });
}

/** The user's own system, with the script that measures put into a copy of its RAM filesystem in `work`. */
export async function ownSystem(own: OwnSystem, work: string): Promise<GuestSystem> {
  const initrd = join(work, "initrd");
  const script = { name: "lab-run", contents: new TextEncoder().encode(RUN), mode: 0o755 };
  await writeFile(initrd, injectInto(await readFile(own.initrd), [script]));
  await readFile(own.kernel);
  const description = `${basename(own.kernel)} with ${basename(own.initrd)}`;
  return { kernel: own.kernel, initrd, init: "/lab-run", description };
}

async function readCache(cache: string): Promise<GuestSystem | undefined> {
  try {
    const made: unknown = JSON.parse(await readFile(join(cache, "made.json"), "utf8"));
    if (typeof made !== "object" || made === null) return undefined;
    const { recipe, description } = made as Record<string, unknown>;
    if (recipe !== RECIPE || typeof description !== "string") return undefined;
    const [kernel, initrd] = [join(cache, "kernel"), join(cache, "initrd")];
    return { kernel, initrd, init: "/lab-init", description };
  } catch {
    return undefined;
  }
}

/** Makes kernel and RAM filesystem in a directory inside `work`, and returns that. */
async function makeSystem(work: string, signal: AbortSignal | undefined): Promise<string> {
  const run = async (program: string, words: readonly string[], cwd?: string): Promise<string> => {
    const outcome = await runProgram(program, words, { timeout: PATIENCE, signal, cwd });
    if (outcome.status === 0) return outcome.stdout;
    throw new PlatterError(
      "E_EXTERNAL",
      `The guest's system cannot be made from Debian's packages: ${program}: ${lastLine(outcome)} (apt-get update may help; or name a system of your own with --kernel and --initrd)`,
      { value: program },
    );
  };
  const kernelPackage = await findKernelPackage(run);
  const libraries = await findLibraries(run);
  const packages = [kernelPackage, "busybox-static", "fio", ...libraries];
  await run("apt-get", ["-q", "download", ...packages], work);
  const archives = (await readdir(work)).filter((name) => name.endsWith(".deb"));
  for (const name of archives) {
    await run("dpkg-deb", ["-x", join(work, name), join(work, "tree")]);
    await rm(join(work, name));
  }
  const made = join(work, "made");
  await mkdir(made);
  const tree = await filesOf(join(work, "tree"));
  const kernel = find(tree, /\/boot\/vmlinuz-[^/]+$/);
  await rename(kernel, join(made, "kernel"));
  await writeFile(join(made, "initrd"), await makeInitrd(tree, run));
  const fio = archives.find((name) => name.startsWith("fio_")) ?? "fio";
  const description = `${kernelPackage}, ${fio.split("_").slice(0, 2).join(" ")}`;
  await writeFile(join(made, "made.json"), JSON.stringify({ recipe: RECIPE, description }));
  return made;
}

type Run = (program: string, words: readonly string[], cwd?: string) => Promise<string>;

async function findKernelPackage(run: Run): Promise<string> {
  const depends = await run("apt-cache", ["depends", META_PACKAGE]);
  const found = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (found !== undefined) return found;
  throw new PlatterError("E_EXTERNAL", `apt-cache knows no kernel behind ${META_PACKAGE}.`, {
    value: META_PACKAGE,
  });
}

/** All libraries that fio may need; few of them it does, but which is only known when they are there. */
async function findLibraries(run: Run): Promise<string[]> {
  const no = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
  const words = ["depends", "--recurse", ...no.map((kind) => `--no-${kind}`), "fio"];
  const names = (await run("apt-cache", words)).split("\n");
  return names.filter((name) => /^(lib|zlib1g$)/.test(name) && !/perl|python|-common$/.test(name));
}

async function makeInitrd(tree: readonly string[], run: Run): Promise<Uint8Array> {
  const loader = find(tree, /\/ld-linux-x86-64\.so\.2$/);
  const fio = find(tree, /\/usr\/bin\/fio$/);
  const paths = [...new Set(tree.filter((path) => /\.so(\.|$)/.test(path)).map(dirname))];
  // The loader says which file it would take for each library.
  const listed = await run(loader, ["--library-path", paths.join(":"), "--list", fio]);
  const libraries = [...listed.matchAll(/^\s+(\S+) => (\/\S+)/gm)].map(
    ([, name = "", path = ""]) => ({ name, path }),
  );
  const contents = [
    { name: "busybox", path: find(tree, /\/bin\/busybox$/) },
    { name: "fio.elf", path: fio },
    { name: "loader", path: loader },
    ...libraries.filter(({ name }) => !name.includes("/")),
    ...modules.flatMap((module) => {
      const path = tree.find((file) => basename(file) === `${module}.ko`);
      return path === undefined ? [] : [{ name: `${module}.ko`, path }];
    }),
  ];
  const files = [];
  for (const { name, path } of contents) {
    files.push({ name, contents: await readFile(path), mode: 0o755 });
  }
  const text = (name: string, script: string) => ({
    name,
    contents: new TextEncoder().encode(script),
    mode: 0o755,
  });
  return cpioArchive([...files, text("lab-init", INIT), text("lab-run", RUN)]);
}

/** Full paths of all files and links. */
async function filesOf(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name));
}

function find(tree: readonly string[], pattern: RegExp): string {
  const found = tree.find((path) => pattern.test(path));
  if (found !== undefined) return found;
  throw new PlatterError("E_EXTERNAL", `Debian's packages have no file like ${pattern.source}.`, {
    value: pattern.source,
  });
}
