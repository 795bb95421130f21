/**
 * qemu-io's commands on an image, done by qemu-io and by the library, with what either says: the words of an
 * error, and what is printed on stderr of damage.
 */
import { open, PlatterError } from "../../src/index.ts";
import type { Peer } from "../peers.ts";

/** What a script of commands came to. */
export interface Said {
  /** `write failed: Input/output error`, or `write`, for each command; or why the image was not opened. */
  readonly commands: readonly string[];
  /** What was said of the image, without the program's name. */
  readonly damage: readonly string[];
}

/** How an image is opened. */
export interface IoOptions {
  readonly runtime?: Readonly<Record<string, string>>;
  readonly readOnly?: boolean;
}

/** Runs commands of qemu-io: `write -P 1 0 64k`, also with `-c` or `-z`, `read`, `discard`, `flush`. */
export async function theirIo(
  qemuIo: Peer,
  image: string,
  commands: readonly string[],
  { runtime = {}, readOnly = false }: IoOptions = {},
): Promise<Said> {
  const options = Object.entries({
    driver: "qcow2",
    ...runtime,
    "file.driver": "file",
    "file.filename": image,
  });
  const { stdout, stderr } = await qemuIo.attempt([
    ...(readOnly ? ["-r"] : []),
    ...commands.flatMap((command) => ["-c", command]),
    "--image-opts",
    options.map(([name, value]) => `${name}=${value}`).join(","),
  ]);
  const lines = `${stdout}${stderr}`.split("\n").filter((line) => line !== "");
  const opened = lines.find((line) => line.includes("can't open"));
  if (opened !== undefined) return { commands: [opened.replace(/^.*?: .*?: /, "")], damage: [] };
  const said = stdout
    .split("\n")
    .map((line) => /^(\w+ failed: .*)|^(wrote|read|discard) \d/.exec(line))
    .flatMap((found) => (found === null ? [] : [found[1] ?? found[2]!.replace("wrote", "write")]));
  return {
    commands: said,
    damage: stderr.split("\n").filter((line) => line.startsWith("qcow2: ")),
  };
}

const size = (text: string): number =>
  Number(text.replace(/[kM]$/, "")) * ({ k: 1024, M: 1024 ** 2 }[text.at(-1)!] ?? 1);

/** As {@link theirIo}, by the library. */
export async function ourIo(
  image: string,
  commands: readonly string[],
  { runtime = {}, readOnly = false }: IoOptions = {},
): Promise<Said> {
  const damage: string[] = [];
  const said: string[] = [];
  const words = (error: unknown): string => {
    if (!(error instanceof PlatterError)) throw error;
    return error.details.qemu ?? error.message;
  };
  let disk;
  try {
    disk = await open(image, {
      format: "qcow2",
      writable: !readOnly,
      runtime,
      onCorruption: (message) => damage.push(message),
    });
  } catch (error) {
    return { commands: [words(error)], damage };
  }
  for (const command of commands) {
    const [verb = "", ...args] = command.split(" ");
    if (verb === "flush") {
      await disk.flush().catch(() => undefined);
      continue;
    }
    const numbers = args.filter((word, i) => !word.startsWith("-") && args[i - 1] !== "-P");
    const [at = 0, length = 0] = numbers.map(size);
    const fill = Number(args[args.indexOf("-P") + 1] ?? 0xcd);
    const bytes = new Uint8Array(length).fill(args.includes("-P") ? fill : 0xcd);
    try {
      if (verb === "read") await disk.read(at, bytes);
      else if (verb === "discard") await disk.discard(at, length);
      else if (args.includes("-z")) {
        await disk.writeZeroes(at, length, { unmap: args.includes("-u") });
      } else if (args.includes("-c")) await disk.writeCompressed(at, bytes);
      else await disk.write(at, bytes);
      said.push(verb);
    } catch (error) {
      said.push(`${verb} failed: ${words(error)}`);
    }
  }
  await disk.close().catch((error: unknown) => damage.push(words(error)));
  return { commands: said, damage };
}
