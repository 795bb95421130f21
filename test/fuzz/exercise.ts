/** Runs all there is over one image, and looks whether what must always hold does. */
import {
  amend,
  audit,
  bitmap,
  check,
  convert,
  explain,
  info,
  map,
  measure,
  nodeCodecs,
  open,
  PlatterError,
  resize,
  snapshot,
  type CommandOptions,
  type Disk,
} from "../../src/index.ts";
import { imageName, nameOf, password, type Base } from "./corpus.ts";
import { Directory } from "./directory.ts";

/** Something that must not be. `key` is the same for the same cause, as far as that can be told. */
export interface Finding {
  readonly property: string;
  readonly command: string;
  readonly message: string;
}

/** How a command ended: "ok" or the code of its error. */
export interface Ending {
  readonly command: string;
  readonly outcome: string;
  /** The error's message, its numbers left out. */
  readonly message: string;
  readonly value?: unknown;
}

/** What came of one image. */
export interface Exercised {
  readonly endings: readonly Ending[];
  readonly findings: readonly Finding[];
  /** The image after a small write, if that succeeded and the image was in order before. */
  readonly written: Uint8Array | undefined;
}

/** Limits of one command. CPU time, because other programs run meanwhile. */
const limits = { cpuSeconds: 4, peakKilobytes: 600_000, bytesRead: 32 * 1024 * 1024 } as const;
const bytesPerRead = 256 * 1024;

/** Messages without what differs from case to case. */
export const generalized = (message: string): string =>
  message
    .replaceAll(/0x[\da-f]+|\d+/g, "#")
    .replaceAll(/"[^"]*"|'[^']*'/g, '"…"')
    .slice(0, 160);

/** Everything a command needs, over a directory in memory. */
export const surroundings = (provider: Directory): CommandOptions => ({
  provider,
  codecs: nodeCodecs,
  secrets: async () => new TextEncoder().encode(password),
});

/** Opens the image of a directory with all behind it. */
export const openIn = (directory: Directory, base: Base, writable = false): Promise<Disk> =>
  directory.open(imageName).then((storage) =>
    open(storage, {
      format: base.format,
      writable,
      codecs: nodeCodecs,
      secrets: async () => new TextEncoder().encode(password),
      ...(base.secretOption !== undefined && { runtime: { [base.secretOption]: "s" } }),
      references: (reference) => directory.open(reference.name),
    }),
  );

/** Runs commands and notes how each ended. */
class Bench {
  readonly endings: Ending[] = [];
  readonly findings: Finding[] = [];

  async run(
    command: string,
    directory: Directory,
    work: (given: CommandOptions) => Promise<unknown>,
  ): Promise<Ending> {
    const before = { cpu: process.cpuUsage(), peak: process.resourceUsage().maxRSS };
    let ending: Ending;
    try {
      const value = await work(surroundings(directory));
      ending = { command, outcome: "ok", message: "", value };
    } catch (error) {
      // `await using` wraps an error when closing fails, too.
      const inner = error instanceof SuppressedError ? (error.suppressed as unknown) : error;
      const known = inner instanceof PlatterError;
      const { message, stack } = inner as Error;
      if (!known) this.found("only PlatterErrors are thrown", command, stack ?? message);
      else if (message.includes("\n")) this.found("messages are one line", command, message);
      const outcome = known ? inner.code : "crash";
      ending = { command, outcome, message: generalized(message) };
    }
    this.endings.push(ending);
    const { user, system } = process.cpuUsage(before.cpu);
    const seconds = (user + system) / 1e6;
    if (seconds > limits.cpuSeconds) this.found("time is limited", command, `${seconds} seconds`);
    const peak = process.resourceUsage().maxRSS;
    if (peak > limits.peakKilobytes && peak > before.peak) {
      this.found("memory is limited", command, `${Math.round(peak / 1024)} MiB`);
    }
    if (directory.openCount !== 0) {
      this.found("what is opened is closed", command, `${directory.openCount} open`);
    }
    return ending;
  }

  found(property: string, command: string, message: string): void {
    this.findings.push({ property, command, message });
  }
}

/**
 * Whether a check finds nothing but leaks. Counts of clusters behind the end of the file show as leaks when the
 * file has grown, whoever writes.
 */
const isClean = ({ outcome, value }: Ending): boolean => {
  if (outcome !== "ok") return false;
  const { corruptions, checkErrors } = value as Awaited<ReturnType<typeof check>>;
  return corruptions + checkErrors === 0;
};

/** Whether all that is wrong is that clusters with one user are not marked so. */
function isUnflagged({ outcome, value }: Ending): boolean {
  if (outcome !== "ok") return false;
  const { problems, problemsOmitted } = value as Awaited<ReturnType<typeof check>>;
  return (
    problemsOmitted === 0 &&
    problems.every(
      ({ kind, message }) => kind === "leak" || /^ERROR OFLAG_COPIED .* refcount=1$/.test(message),
    )
  );
}

/** How commands are told of the image. */
const called = (base: Base): { readonly name: string; readonly format: string | undefined } => ({
  name: nameOf(base),
  format: base.secretOption === undefined ? base.format : undefined,
});

/** Runs everything over an image. `turn` chooses which of the commands that change it. */
export async function exercise(image: Uint8Array, base: Base, turn: number): Promise<Exercised> {
  const bench = new Bench();
  const { format, name } = called(base);
  const given = new Directory(image, base);
  await bench.run("info", given, (context) => info({ name, format }, context));
  await bench.run("info --backing-chain", given, (context) =>
    info({ name, format, backingChain: true }, context),
  );
  const checked =
    base.format === "luks"
      ? undefined
      : await bench.run("check", given, (context) => check({ name, format }, context));
  await bench.run("map", given, async (context) => {
    let entries = 0;
    for await (const entry of map({ name, format }, context)) if (entries++ > 20_000) return entry;
    return entries;
  });
  await bench.run("audit", given, (context) => audit({ names: [imageName] }, context));
  await bench.run("explain", given, (context) => explain({ name, format }, context));
  await bench.run("measure", given, (context) =>
    measure({ source: { name, format }, targetFormat: "qcow2" }, context),
  );
  await bench.run("read", given, () => readAll(given, base));
  await bench.run("convert", new Directory(image, base), (context) =>
    convert(
      { sources: [name], sourceFormat: format, target: "target", targetFormat: "raw" },
      context,
    ),
  );
  const wasClean = checked !== undefined && isClean(checked);
  const written = await writeSome(bench, image, base, wasClean);
  await changeSomehow(bench, new Directory(image, base), base, turn, wasClean);
  return { endings: bench.endings, findings: bench.findings, written };
}

async function readAll(directory: Directory, base: Base): Promise<number> {
  await using disk = await openIn(directory, base);
  const buffer = new Uint8Array(bytesPerRead);
  let done = 0;
  for await (const { start, length, data } of disk.extents()) {
    if (!data) continue;
    for (let at = start; at < start + length; at += bytesPerRead) {
      await disk.read(at, buffer.subarray(0, Math.min(bytesPerRead, start + length - at)));
      done += bytesPerRead;
      if (done > limits.bytesRead) return done;
    }
  }
  return done;
}

/** Writes here and there; what was written is there afterwards, and a clean image stays clean. */
async function writeSome(
  bench: Bench,
  image: Uint8Array,
  base: Base,
  wasClean: boolean,
): Promise<Uint8Array | undefined> {
  const directory = new Directory(image, base);
  const { format, name } = called(base);
  const pieces: Array<{ at: number; bytes: Uint8Array }> = [];
  const write = await bench.run("write", directory, async () => {
    await using disk = await openIn(directory, base, true);
    const { size } = disk;
    for (const [i, share] of [0, 0.3, 0.62, 1].entries()) {
      const length = Math.min(700, size);
      const at = Math.floor((size - length) * share);
      const bytes = new Uint8Array(length).fill(0xa0 + i);
      await disk.write(at, bytes);
      pieces.push({ at, bytes });
    }
    const from = Math.floor(size * 0.8);
    await disk.writeZeroes(from, Math.min(4096, size - from));
    await disk.flush();
  });
  if (write.outcome !== "ok") return undefined;
  await bench.run("read back", directory, async () => {
    await using disk = await openIn(directory, base);
    const { at, bytes } = pieces[0]!;
    if (pieces.some((piece, i) => i > 0 && piece.at < at + bytes.length)) return;
    const back = new Uint8Array(bytes.length);
    await disk.read(at, back);
    const differs = back.findIndex((byte, i) => byte !== bytes[i]);
    // In a damaged image another guest cluster may lie in the same place.
    if (differs >= 0 && wasClean) bench.found("what is written is there", "write", `at ${differs}`);
  });
  if (!wasClean) return undefined;
  const after = await bench.run("check", directory, (context) => check({ name, format }, context));
  if (!isClean(after)) {
    bench.found("a clean image stays clean", "write", JSON.stringify(after.value ?? after.message));
  }
  return directory.get(imageName);
}

/** One of the commands that change an image; afterwards a clean one is clean. */
async function changeSomehow(
  bench: Bench,
  directory: Directory,
  base: Base,
  turn: number,
  wasClean: boolean,
): Promise<void> {
  const { format, name } = called(base);
  const one = { id: "1" };
  const changes: ReadonlyArray<readonly [string, (given: CommandOptions) => Promise<unknown>]> = [
    ["check -r leaks", (given) => check({ name, format, repair: "leaks" }, given)],
    ["check -r all", (given) => check({ name, format, repair: "all" }, given)],
    ["resize", (given) => resize({ name, format, size: 1 << 20 }, given)],
    [
      "snapshot -c",
      (given) => snapshot({ name, format, action: { kind: "create", name: "n" } }, given),
    ],
    [
      "snapshot -a",
      (given) => snapshot({ name, format, action: { kind: "apply", snapshot: one } }, given),
    ],
    [
      "snapshot -d",
      (given) => snapshot({ name, format, action: { kind: "remove", snapshot: one } }, given),
    ],
    ["amend", (given) => amend({ name, format, values: { compat: "0.10" } }, given)],
    ["amend", (given) => amend({ name, format, values: { refcount_bits: 32 } }, given)],
    [
      "bitmap --add",
      (given) => bitmap({ name, format, bitmap: "n", actions: [{ kind: "add" }] }, given),
    ],
    [
      "bitmap --clear",
      (given) => bitmap({ name, format, bitmap: "fine", actions: [{ kind: "clear" }] }, given),
    ],
  ];
  const [command, work] = changes[turn % changes.length]!;
  const changed = await bench.run(command, directory, work);
  if (base.format === "luks" || changed.outcome !== "ok") return;
  const after = await bench.run("check", directory, (context) => check({ name, format }, context));
  const repaired = command === "check -r all" && isClean(changed);
  // Closing stores bitmaps anew, and what they shared with data is the data's own from then on, as with QEMU.
  if ((wasClean || repaired) && !isClean(after) && !isUnflagged(after)) {
    bench.found("a clean image stays clean", command, JSON.stringify(after.value ?? after.message));
  }
}
