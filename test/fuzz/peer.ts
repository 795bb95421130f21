/** What qemu-img says of an image, against what we say. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { map, open, PlatterError, type Disk } from "../../src/index.ts";
import { imageName, nameOf, password, type Base } from "./corpus.ts";
import { Directory } from "./directory.ts";
import { generalized, openIn, surroundings, type Exercised, type Finding } from "./exercise.ts";

interface Said {
  readonly code: number | undefined;
  readonly stdout: string;
}

/** Milliseconds that qemu-img may take; what takes longer is not compared. */
const patience = 10_000;
/** Largest disk that is compared whole, in bytes. */
const mostCompared = 64 * 1024 * 1024;

/** Runs qemu-img with a limit of memory and time. */
function qemuImg(words: readonly string[], cwd: string): Promise<Said> {
  const secret = ["--object", `secret,id=s,data=${password}`];
  const [command = "", ...rest] = words;
  const limited = ["--data=1000000000", "qemu-img", command, ...secret, ...rest];
  return new Promise((resolve) => {
    const options = { cwd, timeout: patience, killSignal: "SIGKILL", maxBuffer: 2 ** 26 } as const;
    execFile("prlimit", limited, options, (error, stdout) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : undefined;
      resolve({ code, stdout });
    });
  });
}

/** How much was compared. */
export interface Compared {
  readonly findings: readonly Finding[];
  /** What could be compared, by name. */
  readonly done: readonly string[];
}

/** Compares one image, in a new directory inside `top`. */
export async function compareWithPeer(
  image: Uint8Array,
  base: Base,
  { endings, written }: Exercised,
  top: string,
): Promise<Compared> {
  const directory = mkdtempSync(join(top, "peer-"));
  const findings: Finding[] = [];
  const done: string[] = [];
  try {
    writeFileSync(join(directory, imageName), image);
    for (const [name, bytes] of base.others) writeFileSync(join(directory, name), bytes);
    const how = base.secretOption === undefined ? ["-f", base.format] : [];
    const words = [...how, nameOf(base)];
    // A piece of a sector at the end is not part of our disk: docs/deviations.md.
    if (base.format === "luks" && image.length % 512 !== 0) return { findings, done };
    if (base.format === "qcow2") {
      const { code } = await qemuImg(["check", ...words], directory);
      if (code === 2) {
        done.push("check: corrupt");
        if (isClean(endings)) {
          findings.push({
            property: "check is not clean where qemu-img's is not",
            command: "check",
            message: "",
          });
        }
      } else if (code !== undefined) done.push(`check: ${code}`);
    }
    await compareContents(image, base, words, directory, { findings, done });
    await compareMaps(image, base, words, directory, { findings, done });
    if (written !== undefined) {
      writeFileSync(join(directory, imageName), written);
      const { code } = await qemuImg(["check", ...words], directory);
      done.push("check of what we wrote");
      if (code === 2) {
        findings.push({
          property: "qemu-img finds what we wrote clean",
          command: "write",
          message: `exit code ${code}`,
        });
      }
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return { findings, done };
}

interface Notes {
  readonly findings: Finding[];
  readonly done: string[];
}

function isClean(endings: Exercised["endings"]): boolean {
  const checked = endings.find(({ command }) => command === "check");
  if (checked?.outcome !== "ok") return false;
  const { corruptions, checkErrors } = checked.value as {
    corruptions: number;
    checkErrors: number;
  };
  return corruptions + checkErrors === 0;
}

/** Where qemu-img reads all of it, we read the same, or say that something is missing. */
async function compareContents(
  image: Uint8Array,
  base: Base,
  words: readonly string[],
  directory: string,
  { findings, done }: Notes,
): Promise<void> {
  const size = await sizeOf(words, directory);
  if (size === undefined || size > mostCompared) return;
  const found = (message: string): void => {
    findings.push({
      property: "reading does not differ from qemu-img",
      command: "read",
      message,
    });
  };
  const { code } = await qemuImg(["convert", ...words, "-O", "raw", "theirs.raw"], directory);
  if (code !== 0) return;
  const ours = new Directory(image, base);
  try {
    await using disk = await openIn(ours, base);
    if (disk.size !== size) {
      found(`size ${disk.size}, not ${size}`);
      return;
    }
    await using theirs = await open(join(directory, "theirs.raw"), { format: "raw", lock: "none" });
    const at = await firstDifference(disk, theirs);
    done.push("contents");
    if (at !== undefined) found(`byte ${at}`);
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    if (missing.has(error.code) || stricter.some((text) => error.message.includes(text)))
      done.push("missing");
    else found(`${error.code} ${generalized(error.message)}`);
  }
}

/** Parts of the file that are missing are an error, not zeros: docs/deviations.md. */
const missing = new Set(["E_TRUNCATED", "E_LIMIT"]);
/** What else is refused on purpose, and is in docs/deviations.md. */
const stricter = [
  "L1 table offset invalid (l1_table_offset is 0)",
  // Where no file reaches; one that is only behind the end is E_TRUNCATED.
  "Snapshot table offset invalid",
  "doesn't satisfy the constraints (bitmap_table_offset at ",
];

async function sizeOf(words: readonly string[], directory: string): Promise<number | undefined> {
  const { code, stdout } = await qemuImg(["info", "--output=json", ...words], directory);
  if (code !== 0) return undefined;
  return (JSON.parse(stdout) as Record<string, number>)["virtual-size"];
}

async function firstDifference(ours: Disk, theirs: Disk): Promise<number | undefined> {
  const length = 1024 * 1024;
  const [a, b] = [new Uint8Array(length), new Uint8Array(length)];
  for (let at = 0; at < ours.size; at += length) {
    const count = Math.min(length, ours.size - at);
    await ours.read(at, a.subarray(0, count));
    await theirs.read(at, b.subarray(0, count));
    if (Buffer.compare(a.subarray(0, count), b.subarray(0, count)) === 0) continue;
    return at + a.findIndex((byte, i) => byte !== b[i]);
  }
  return undefined;
}

/** Where both list what is where, the lists are the same. */
async function compareMaps(
  image: Uint8Array,
  base: Base,
  words: readonly string[],
  directory: string,
  { findings, done }: Notes,
): Promise<void> {
  // On files, because holes of files show.
  if (readdirSync(directory).includes("base") || readdirSync(directory).includes("data")) return;
  const { code, stdout } = await qemuImg(["map", "--output=json", ...words], directory);
  if (code !== 0) return;
  const theirs = JSON.parse(stdout) as Array<Record<string, unknown>>;
  const ours: Array<Record<string, unknown>> = [];
  try {
    const how = base.secretOption === undefined ? { format: base.format } : {};
    const given = surroundings(new Directory(image, base));
    for await (const entry of map({ name: nameOf(base), ...how }, given)) {
      const { start, length, data, zero, depth, offset } = entry;
      const before = ours.at(-1);
      // We tell compressed data from other data that has no place, and qemu-img does not.
      if (
        data &&
        offset === undefined &&
        before?.["offset"] === undefined &&
        before?.["data"] === data &&
        before["zero"] === zero &&
        before["depth"] === depth
      ) {
        before["length"] = Number(before["length"]) + length;
      } else
        ours.push({ start, length, data, zero, depth, ...(offset !== undefined && { offset }) });
    }
  } catch (error) {
    if (error instanceof PlatterError) return;
    throw error;
  }
  // The command shows an empty disk as one entry, and the library as none.
  if (theirs.length === 1 && theirs[0]!["length"] === 0 && ours.length === 0) return;
  done.push("map");
  const line = (entry: Record<string, unknown> | undefined): string =>
    ["start", "length", "data", "zero", "depth", "offset"]
      .map((key) => String(entry?.[key]))
      .join(" ");
  const at = theirs.findIndex((entry, i) => line(entry) !== line(ours[i]));
  if (at < 0 && ours.length === theirs.length) return;
  const message = `entry ${at}: ${line(ours[at])}, not ${line(theirs[at])}`;
  findings.push({ property: "map does not differ from qemu-img", command: "map", message });
}
