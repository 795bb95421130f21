/** The images that are converted, checked and read. Made once and kept. */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { makeUsrDisk } from "../tools/usr-disk.ts";

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

function run(program: string, words: readonly string[], cwd: string): void {
  const { status, stdout, stderr } = spawnSync(program, words, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${words.join(" ")}: ${stderr}${stdout}`);
}

/** Pieces of bytes that do not compress, with holes between them. */
function makeMix(file: string, { disk }: Scale): void {
  const size = disk / 4;
  const noise = new Uint8Array(128 * 1024);
  let state = 1;
  const handle = openSync(file, "w");
  try {
    for (let at = 0, i = 1; at < size; at += 192 * 1024 + (i % 7) * 20_480, i++) {
      const piece = noise.subarray(0, 4096 * (1 + (i % 24)));
      for (let j = 0; j < piece.length; j++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        piece[j] = state >>> 24;
      }
      writeSync(handle, piece, 0, piece.length, at);
    }
  } finally {
    closeSync(handle);
  }
  truncateSync(file, size + 8 * MiB);
}

/** Makes what is not there yet in `directory`. */
export function makeData(directory: string, scale: Scale, say: (what: string) => void): void {
  mkdirSync(directory, { recursive: true });
  const convert = (...words: string[]) => ["qemu-img", "convert", "-W", "-O", "qcow2", ...words];
  const make: ReadonlyArray<readonly [name: string, how: string[] | ((file: string) => void)]> = [
    ["disk.raw", (file) => void makeUsrDisk(file, scale.disk, scale.files)],
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
