/** The images that are converted, checked and read. Made once and kept. */
import { spawnSync } from "node:child_process";
import { createCipheriv } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";

const MiB = 2 ** 20;

/** How much data there is. */
export interface Scale {
  readonly name: "full" | "small";
  /** Size of the disk with a filesystem, and bytes of files in it. */
  readonly disk: number;
  readonly files: number;
  /** Size of the image that is nothing but metadata, as qemu-img takes it. */
  readonly metadata: string;
  /** Size of the image for requests of 4 KiB. */
  readonly requests: string;
}

export const scales: Readonly<Record<Scale["name"], Scale>> = {
  full: { name: "full", disk: 4096 * MiB, files: 1.2e9, metadata: "1T", requests: "2G" },
  small: { name: "small", disk: 512 * MiB, files: 0.15e9, metadata: "64G", requests: "256M" },
};

function run(program: string, words: readonly string[], cwd: string, input?: string): void {
  const { status, stdout, stderr } = spawnSync(program, words, { cwd, encoding: "utf8", input });
  if (status !== 0) throw new Error(`${program} ${words.join(" ")}: ${stderr}${stdout}`);
}

/** Regular files below `root`, in the order of their names. */
function* filesBelow(root: string): Generator<string> {
  for (const name of readdirSync(root).toSorted()) {
    const file = join(root, name);
    const stats = lstatSync(file);
    if (stats.isDirectory()) yield* filesBelow(file);
    else if (stats.isFile() && stats.size < 64 * MiB) yield file;
  }
}

function collect(tree: string, wanted: number): void {
  let total = 0;
  for (const file of filesBelow("/usr")) {
    const copy = join(tree, file);
    mkdirSync(dirname(copy), { recursive: true });
    try {
      linkSync(file, copy);
    } catch {
      copyFileSync(file, copy);
    }
    total += lstatSync(file).size;
    if (total >= wanted) return;
  }
}

/** A disk with a partition table and an ext4 filesystem full of what is in /usr. */
function makeDisk(file: string, cwd: string, { disk, files }: Scale): void {
  const tree = join(cwd, "tree");
  collect(tree, files);
  writeFileSync(file, "");
  truncateSync(file, disk);
  const blocks = (disk - 2 * MiB) / 4096;
  const place = ["-E", `offset=${MiB}`, "-b", "4096", file, String(blocks)];
  run("mke2fs", ["-q", "-t", "ext4", "-d", tree, ...place], cwd);
  run("sfdisk", ["-q", file], cwd, `label: gpt\nstart=${MiB / 512}, size=${blocks * 8}, type=L\n`);
  rmSync(tree, { recursive: true });
}

/** Pieces of bytes that do not compress, with holes between them; the same in each run. */
function makeMix(file: string, { disk }: Scale): void {
  // AES in counter mode of zeros: random to any codec.
  const random = createCipheriv("aes-128-ctr", Buffer.alloc(16, 1), Buffer.alloc(16));
  const descriptor = openSync(file, "w");
  for (let at = 0, i = 1; at < disk / 4; at += 192 * 1024 + (i % 7) * 20_480, i++) {
    const piece = random.update(Buffer.alloc(4096 * (1 + (i % 24))));
    writeSync(descriptor, piece, 0, piece.length, at);
  }
  closeSync(descriptor);
  truncateSync(file, disk / 4 + 8 * MiB);
}

/** Makes what is not there yet in `directory`. */
export function makeData(directory: string, scale: Scale, say: (what: string) => void): void {
  mkdirSync(directory, { recursive: true });
  const convert = (...words: string[]) => ["qemu-img", "convert", "-W", "-O", "qcow2", ...words];
  const make: ReadonlyArray<readonly [name: string, how: string[] | ((file: string) => void)]> = [
    ["disk.raw", (file) => makeDisk(file, directory, scale)],
    ["random.raw", (file) => makeMix(file, scale)],
    ["plain.qcow2", convert("disk.raw")],
    ["zlib.qcow2", convert("-c", "disk.raw")],
    ["zstd.qcow2", convert("-c", "-o", "compression_type=zstd", "disk.raw")],
    ["metadata.qcow2", ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata"]],
    ["requests.qcow2", ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=full"]],
    ["small.qcow2", ["qemu-img", "create", "-q", "-f", "qcow2"]],
  ];
  const sizes: Readonly<Record<string, string>> = {
    "metadata.qcow2": scale.metadata,
    "requests.qcow2": scale.requests,
    "small.qcow2": "1G",
  };
  for (const [name, how] of make) {
    const file = join(directory, name);
    if (existsSync(file)) continue;
    say(`making ${name}`);
    const unfinished = `${file}.unfinished`;
    const size = sizes[name];
    if (typeof how === "function") how(unfinished);
    else
      run(how[0]!, [...how.slice(1), unfinished, ...(size === undefined ? [] : [size])], directory);
    renameSync(unfinished, file);
  }
}
