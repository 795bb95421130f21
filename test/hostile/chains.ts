/** Hostile chains: directories whose image `top` leads back to itself, too far, or elsewhere. */
import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canary, poke, text, type Poke } from "./images.ts";

/** A directory with an image `top`. */
export interface HostileChain {
  readonly name: string;
  readonly field: string;
  readonly like?: string;
  /** What opening it with all it names ends with. */
  readonly code: string;
  readonly make: (directory: string, sound: Uint8Array) => void;
}

/** The image with that backing file, and its format where one is given. */
function overlay(sound: Uint8Array, backing: string, format?: string): Uint8Array {
  const length = BigInt(new TextEncoder().encode(backing).length);
  const pokes: Poke[] = [
    [8, 8, 4096n],
    [16, 4, length],
    [112, 4, 0n],
  ];
  if (format !== undefined) {
    pokes.push([112, 4, 0xe279_2acan], [116, 4, BigInt(format.length)], [128, 8, 0n]);
  }
  const made = text(poke(sound, pokes), 4096, backing);
  return format === undefined ? made : text(made, 120, format.padEnd(8, "\0"));
}

/** The name may say where the directory is: protocols count from the working directory. */
const backedBy = (
  name: string,
  backing: string | ((directory: string) => string),
  code: string,
  format?: string,
): HostileChain => ({
  name,
  field: "backing file name",
  code,
  make(directory, sound) {
    const named = typeof backing === "string" ? backing : backing(directory);
    writeFileSync(join(directory, "top"), overlay(sound, named, format));
  },
});

const ofFormat = (name: string, format: string): HostileChain => ({
  name,
  field: "backing format",
  code: "E_UNKNOWN_FORMAT",
  make(directory, sound) {
    writeFileSync(join(directory, "top"), overlay(sound, "below", format));
    writeFileSync(join(directory, "below"), sound);
  },
});

/** All of them. */
export const hostileChains: readonly HostileChain[] = [
  backedBy("itself", "top", "E_CHAIN_LOOP"),
  backedBy("itself-with-format", "top", "E_CHAIN_LOOP", "qcow2"),
  backedBy("itself-by-a-longer-name", "./././top", "E_CHAIN_LOOP"),
  backedBy("itself-as-a-protocol", (at) => `file:${at}/top`, "E_CHAIN_LOOP"),
  backedBy(
    "itself-as-json",
    (at) => `json:{"driver":"qcow2","file.filename":"${at}/top"}`,
    "E_CHAIN_LOOP",
  ),
  {
    name: "each-other",
    field: "backing file name",
    code: "E_CHAIN_LOOP",
    make(directory, sound) {
      writeFileSync(join(directory, "top"), overlay(sound, "other"));
      writeFileSync(join(directory, "other"), overlay(sound, "top"));
    },
  },
  {
    name: "three-in-a-ring",
    field: "backing file name",
    code: "E_CHAIN_LOOP",
    make(directory, sound) {
      const ring = ["top", "b", "c", "top"];
      for (let i = 0; i < 3; i++) {
        writeFileSync(join(directory, ring[i]!), overlay(sound, ring[i + 1]!));
      }
    },
  },
  {
    name: "a-ring-below",
    field: "backing file name",
    code: "E_CHAIN_LOOP",
    make(directory, sound) {
      for (const [name, below] of [
        ["top", "b"],
        ["b", "c"],
        ["c", "b"],
      ] as const) {
        writeFileSync(join(directory, name), overlay(sound, below));
      }
    },
  },
  {
    name: "itself-by-a-symbolic-link",
    field: "backing file name",
    code: "E_CHAIN_LOOP",
    make(directory, sound) {
      writeFileSync(join(directory, "top"), overlay(sound, "link"));
      symlinkSync("top", join(directory, "link"));
    },
  },
  {
    name: "itself-by-a-hard-link",
    field: "backing file name",
    code: "E_CHAIN_LOOP",
    make(directory, sound) {
      writeFileSync(join(directory, "top"), overlay(sound, "link"));
      linkSync(join(directory, "top"), join(directory, "link"));
    },
  },
  {
    name: "itself-through-a-directory",
    field: "backing file name",
    code: "E_CHAIN_LOOP",
    make(directory, sound) {
      mkdirSync(join(directory, "inside"));
      symlinkSync("..", join(directory, "inside", "out"));
      writeFileSync(join(directory, "top"), overlay(sound, "inside/out/inside/out/top"));
    },
  },
  {
    name: "a-link-to-a-link-to-itself",
    field: "backing file name",
    code: "E_INVALID_ARGUMENT",
    make(directory, sound) {
      writeFileSync(join(directory, "top"), overlay(sound, "a"));
      symlinkSync("b", join(directory, "a"));
      symlinkSync("a", join(directory, "b"));
    },
  },
  {
    name: "too-deep",
    field: "backing file name",
    code: "E_CHAIN_DEPTH",
    make(directory, sound) {
      writeFileSync(join(directory, "top"), overlay(sound, "0"));
      for (let i = 0; i < 250; i++) {
        writeFileSync(join(directory, String(i)), overlay(sound, String(i + 1)));
      }
      writeFileSync(join(directory, "250"), sound);
    },
  },
  {
    name: "a-directory",
    field: "backing file name",
    code: "E_IS_DIRECTORY",
    make(directory, sound) {
      writeFileSync(join(directory, "top"), overlay(sound, "."));
    },
  },
  {
    name: "a-named-pipe",
    field: "backing file name",
    code: "E_UNSUPPORTED",
    make(directory, sound) {
      // Who opens it waits for ever.
      execFileSync("mkfifo", [join(directory, "pipe")]);
      writeFileSync(join(directory, "top"), overlay(sound, "pipe", "raw"));
    },
  },
  backedBy("a-device-without-an-end", "/dev/zero", "E_UNSUPPORTED", "raw"),
  backedBy("a-terminal", "/dev/tty", "E_UNSUPPORTED", "raw"),
  backedBy("memory-of-the-process", "/proc/self/mem", "ok", "raw"),
  {
    name: "data-file-is-itself",
    field: "external data file name",
    code: "E_CHAIN_LOOP",
    make(directory, sound) {
      const made = poke(sound, [
        [72, 8, 4n],
        [112, 4, 0x4441_5441n],
        [116, 4, 3n],
        [128, 8, 0n],
      ]);
      // A data file is found from the working directory by qemu-img, and from the image by the library.
      writeFileSync(join(directory, "top"), text(made, 120, "top"));
    },
  },
  {
    name: "raw-that-is-a-header",
    field: "backing format",
    code: "ok",
    make(directory, sound) {
      // What says raw stays raw, whatever is in it.
      writeFileSync(join(directory, "top"), overlay(sound, "guest", "raw"));
      writeFileSync(join(directory, "guest"), overlay(sound, canary));
    },
  },
  {
    name: "guessed-that-is-a-header",
    field: "backing format",
    like: "CVE-2008-2004",
    code: "E_NOT_FOUND",
    make(directory, sound) {
      // Of an image that does not say, the format is guessed, as by QEMU: the reason to say it.
      writeFileSync(join(directory, "top"), overlay(sound, "guest"));
      writeFileSync(join(directory, "guest"), overlay(sound, canary));
    },
  },
  ofFormat("a-format-that-is-not-there", "qcow3"),
  ofFormat("a-format-of-controls", "\u001b[2J\r\n"),
];
