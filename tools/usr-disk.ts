/** A disk as a machine has it, for tests and the benchmark: made of what is in this machine's /usr. */
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { findPeer, type PeerName } from "./peers.ts";

const MiB = 2 ** 20;

/** One huge file would be all there is. */
const largestFile = 64 * MiB;

/** Byte of the disk at which its only partition starts. */
export const partitionStart = MiB;

function run(name: PeerName, words: readonly string[], input?: string): void {
  const { status, stdout, stderr } = spawnSync(findPeer(name) ?? name, words, {
    encoding: "utf8",
    input,
  });
  if (status !== 0) throw new Error(`${name} ${words.join(" ")}: ${stderr}${stdout}`);
}

/** Regular files below `root`, in the order of their names. */
function* filesBelow(root: string): Generator<string> {
  for (const name of readdirSync(root).toSorted()) {
    const file = join(root, name);
    const stats = lstatSync(file);
    if (stats.isDirectory()) yield* filesBelow(file);
    else if (stats.isFile() && stats.size <= largestFile) yield file;
  }
}

/** A tree with so many bytes of /usr in it, or all; returns how many there are. */
function collect(tree: string, wanted: number): number {
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
    if (total >= wanted) break;
  }
  return total;
}

/**
 * Makes `file` a raw disk of `size` bytes: a partition table, and an ext4 filesystem with `files` bytes of
 * /usr in it. Returns how many bytes of files there are. Needs mke2fs and sfdisk.
 */
export function makeUsrDisk(file: string, size: number, files: number): number {
  const tree = mkdtempSync(`${file}-tree-`);
  try {
    const total = collect(tree, files);
    writeFileSync(file, "");
    truncateSync(file, size);
    const blocks = (size - 2 * partitionStart) / 4096;
    const place = ["-E", `offset=${partitionStart}`, "-b", "4096", file, String(blocks)];
    run("mke2fs", ["-q", "-t", "ext4", "-d", tree, ...place]);
    const start = partitionStart / 512;
    run("sfdisk", ["-q", file], `label: gpt\nstart=${start}, size=${blocks * 8}, type=L\n`);
    return total;
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}
