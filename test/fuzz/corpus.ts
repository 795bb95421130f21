/**
 * The images that fuzzing starts from: small, and together with every feature there is. Some are made by
 * qemu-img and qemu-io, others by Platter.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bitmap, convert, create, open, snapshot } from "../../src/index.ts";

/** The secret of all encrypted images. */
export const password = "fuzz-0123";

/** An image to start from, with the files that it names. */
export interface Base {
  readonly name: string;
  readonly format: "qcow2" | "luks";
  /** The option that names the secret of an encrypted image. */
  readonly secretOption?: string | undefined;
  readonly bytes: Uint8Array;
  /** Other files of its directory, by name. */
  readonly others: ReadonlyMap<string, Uint8Array>;
}

/** The name of the secret in {@link Base.secretOption}. */
const secretId = "s";

/** How qemu-img and we are told of an image of that base, in its directory. */
export function nameOf({ format, secretOption }: Base): string {
  if (secretOption === undefined) return imageName;
  return `json:${JSON.stringify({ driver: format, [secretOption]: secretId, "file.driver": "file", "file.filename": imageName })}`;
}

/** What the image of a base is called in its directory. */
export const imageName = "image";

/** A line: `img WORDS` for qemu-img, `io FILE COMMANDS` for qemu-io, separated by semicolons. */
type Line = string | ((directory: string) => Promise<unknown>);

interface Recipe {
  readonly name: string;
  readonly format?: "luks";
  readonly secretOption?: string;
  readonly lines: readonly Line[];
}

const writes = (file: string): string =>
  `io ${file} write -P 1 0 700;write -P 2 20k 5k;write -z 8k 4k;write -P 3 60k 3k;discard 24k 1k`;
const secret = `--object secret,id=s,data=${password}`;
const luks = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
const cheap = "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=plain64";
const prefixed = cheap.replaceAll(/(^|,)/g, "$1encrypt.");

const encryptedWrites: Line = (cwd) => {
  const options = "driver=qcow2,encrypt.key-secret=s,file.filename=image";
  const words = [...secret.split(" "), "--image-opts", options, "-c", "write -P 3 1k 9k"];
  return Promise.resolve(execFileSync("qemu-io", words, { cwd, stdio: "pipe" }));
};

/** QEMU ends without closing the image, whose refcounts were to be written then. */
const leftDirty: Line = (cwd) => {
  const words = ["-f", "qcow2", "-c", "write -P 3 1k 9k", "-c", "abort", imageName];
  const { signal } = spawnSync("qemu-io", words, { cwd });
  if (signal !== "SIGABRT") throw new Error(`qemu-io ended with ${signal}`);
  return Promise.resolve();
};

const recipes: readonly Recipe[] = [
  {
    name: "tiny clusters",
    lines: ["img create -f qcow2 -o cluster_size=512 image 96k", writes("image")],
  },
  {
    name: "4 KiB clusters",
    lines: ["img create -f qcow2 -o cluster_size=4k image 1M", writes("image")],
  },
  { name: "64 KiB clusters", lines: ["img create -f qcow2 image 20M", writes("image")] },
  {
    name: "version 2",
    lines: ["img create -f qcow2 -o cluster_size=512,compat=0.10 image 96k", writes("image")],
  },
  ...[1, 8, 64].map((bits) => ({
    name: `refcounts of ${bits} bits`,
    lines: [
      `img create -f qcow2 -o cluster_size=512,refcount_bits=${bits} image 80k`,
      writes("image"),
    ],
  })),
  ...["zlib", "zstd"].map((type) => ({
    name: `compressed with ${type}`,
    lines: [
      "img create -f raw source 96k",
      writes("source"),
      `img convert -c -O qcow2 -o cluster_size=4k,compression_type=${type} source image`,
      "io image write -P 9 30k 512",
    ],
  })),
  {
    name: "lazy refcounts, not closed",
    lines: [
      "img create -f qcow2 -o cluster_size=4k,lazy_refcounts=on image 1M",
      writes("image"),
      leftDirty,
    ],
  },
  {
    name: "extended L2 entries, compressed",
    lines: [
      "img create -f raw source 256k",
      writes("source"),
      "img convert -c -O qcow2 -o extended_l2=on,cluster_size=16k source image",
      "io image write -P 7 100k 512;write -z 40k 1k",
    ],
  },
  {
    name: "extended L2 entries",
    lines: [
      "img create -f qcow2 -o extended_l2=on,cluster_size=16k image 512k",
      writes("image"),
      "io image write -P 7 100k 512;write -z 102k 1k;discard 100k 512",
    ],
  },
  {
    name: "snapshots",
    lines: [
      "img create -f qcow2 -o cluster_size=512 image 64k",
      writes("image"),
      "img snapshot -c one image",
      "io image write -P 5 0 1k;write -P 6 40k 1k",
      "img snapshot -c a-second-one image",
      "io image write -P 8 512 512",
    ],
  },
  {
    name: "snapshots of version 2",
    lines: [
      "img create -f qcow2 -o cluster_size=1k,compat=0.10 image 64k",
      writes("image"),
      "img snapshot -c one image",
      "io image write -P 5 0 1k",
    ],
  },
  {
    name: "bitmaps",
    lines: [
      "img create -f qcow2 -o cluster_size=512 image 96k",
      "img bitmap --add -g 512 image fine",
      writes("image"),
      "img bitmap --add image coarse",
      "img bitmap --disable image coarse",
    ],
  },
  {
    name: "over a raw image",
    lines: [
      "img create -f raw base 90k",
      writes("base"),
      "img create -f qcow2 -o cluster_size=512 -b base -F raw image 100k",
      "io image write -P 4 1k 600;write -z 20k 1k",
    ],
  },
  {
    name: "over a qcow2 image",
    lines: [
      "img create -f qcow2 -o cluster_size=4k base 90k",
      writes("base"),
      "img create -f qcow2 -o extended_l2=on,cluster_size=16k -b base -F qcow2 image 100k",
      "io image write -P 4 1k 600",
    ],
  },
  ...["off", "on"].map((isRaw) => ({
    name: `data file, raw ${isRaw}`,
    lines: [
      `img create -f qcow2 -o cluster_size=4k,data_file=data,data_file_raw=${isRaw} image 100k`,
      writes("image"),
    ],
  })),
  {
    name: "LUKS inside",
    secretOption: "encrypt.key-secret",
    lines: [
      `img create ${secret} -f qcow2 -o ${luks},${prefixed},cluster_size=4k image 64k`,
      encryptedWrites,
    ],
  },
  {
    name: "AES inside",
    secretOption: "encrypt.key-secret",
    lines: [
      `img create ${secret} -f qcow2 -o encrypt.format=aes,encrypt.key-secret=s,cluster_size=512 image 64k`,
      encryptedWrites,
    ],
  },
  {
    name: "LUKS",
    secretOption: "key-secret",
    format: "luks",
    lines: [`img create ${secret} -f luks -o key-secret=s,iter-time=10,${cheap} image 16k`],
  },
  {
    name: "preallocated, by Platter",
    lines: [
      async (directory) => {
        const name = join(directory, imageName);
        const formatOptions = { cluster_size: 1024, preallocation: "metadata" };
        await create({ name, format: "qcow2", size: 65_536, formatOptions });
        await using disk = await open(name, { writable: true });
        await disk.write(3000, new Uint8Array(2000).fill(3));
      },
    ],
  },
  {
    name: "compressed, with a snapshot and a bitmap, by Platter",
    lines: [
      "img create -f raw source 64k",
      writes("source"),
      async (directory) => {
        const name = join(directory, imageName);
        await convert({
          sources: [join(directory, "source")],
          sourceFormat: "raw",
          target: name,
          targetFormat: "qcow2",
          compress: true,
          targetOptions: { cluster_size: 2048, compression_type: "zstd" },
        });
        await snapshot({ name, action: { kind: "create", name: "s" } });
        await bitmap({ name, bitmap: "b", actions: [{ kind: "add" }] });
        await using disk = await open(name, { writable: true });
        await disk.write(100, new Uint8Array(3000).fill(3));
      },
    ],
  },
];

async function run(line: Line, cwd: string): Promise<void> {
  if (typeof line !== "string") {
    await line(cwd);
    return;
  }
  const [program, ...words] = line.split(" ");
  if (program === "img") {
    qemuImg(words, cwd);
    return;
  }
  const [, file = "", commands = ""] = /^io (\S+) (.*)$/.exec(line) ?? [];
  const isQcow2 = readFileSync(join(cwd, file)).subarray(0, 3).toString() === "QFI";
  const given = commands.split(";").flatMap((command) => ["-c", command]);
  const format = isQcow2 ? "qcow2" : "raw";
  execFileSync("qemu-io", ["-f", format, ...given, file], { cwd, stdio: "pipe" });
}

/** qemu-img measures its own speed for LUKS, and gives up where the clock is too coarse for it. */
function qemuImg(words: readonly string[], cwd: string): void {
  for (let attempt = 1; ; attempt++) {
    try {
      execFileSync("qemu-img", words, { cwd, stdio: "pipe" });
      return;
    } catch (error) {
      if (attempt === 20 || !String(error).includes("accurate CPU usage")) throw error;
    }
  }
}

/** Makes all of them. */
export async function makeCorpus(): Promise<Base[]> {
  const top = mkdtempSync(join(tmpdir(), "platter-corpus-"));
  try {
    const bases: Base[] = [];
    for (const [i, { name, format = "qcow2", secretOption, lines }] of recipes.entries()) {
      const directory = join(top, String(i));
      mkdirSync(directory);
      for (const line of lines) await run(line, directory);
      const files = readdirSync(directory).filter((file) => file !== "source");
      const bytesOf = (file: string): Uint8Array =>
        new Uint8Array(readFileSync(join(directory, file)));
      const others = files.filter((file) => file !== imageName);
      bases.push({
        name,
        format,
        secretOption,
        bytes: bytesOf(imageName),
        others: new Map(others.map((file) => [file, bytesOf(file)])),
      });
    }
    return bases;
  } finally {
    rmSync(top, { recursive: true, force: true });
  }
}
