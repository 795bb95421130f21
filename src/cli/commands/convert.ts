import { type ConvertOptions, formatSize, parseSize } from "../contract.ts";
import { printOptionHelp, splitOptionList, writableFormat } from "../format-options.ts";
import { plainJson } from "../json.ts";
import {
  checkImageOpts,
  formatOption,
  formatOptionsOption,
  imageOptsOption,
  jsonOption,
  objectOption,
  progressOptions,
  rateLimitOption,
  quietOption,
  shareOption,
  syncOption,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import { formatDuration } from "../progress.ts";
import { readCNumber } from "../numbers.ts";
import { Losses } from "../losses.ts";
import { copySpeed, copySpeedOptions, takeCompressionLevel } from "../copy-speed.ts";
import { readCacheMode, sourceCacheOption } from "../cache-mode.ts";
import type { Session } from "../session.ts";
import { oneOf } from "../sub-options.ts";
import { readSnapshotParameter } from "../snapshot-parameter.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError } from "../usage.ts";
import { targetOptions } from "./target-options.ts";

/** The longest run of zeros that `-S` can ask for, in bytes. */
const MAX_SPARSE_SIZE = 16 * 1024 * 1024;

/** The table entry of `convert`. */
export const convertCommand: CommandSpec = {
  name: "convert",
  summary: "copy a disk into a new image, of the same or another format",
  description:
    "Reads the disk through all its backing files and writes it to the target. Several sources are put behind one another. Parts that are zero take up no space in the target.",
  operands: "filename [filename2 [...]] output_filename",
  options: [
    objectOption,
    imageOptsOption,
    { ...formatOption, friendly: "source-format", summary: "format of the sources" },
    {
      id: "targetFormat",
      short: "O",
      friendly: "target-format",
      argument: "output_fmt",
      summary: "format of the target; raw if not given",
      group: "Result",
    },
    formatOptionsOption,
    {
      id: "compress",
      short: "c",
      friendly: "compress",
      summary:
        "compress the target (qcow2); -o compression_level=number says how hard (1 to 9 with zlib, 1 to 19 with zstd), and Platter chooses if not given",
      group: "Result",
    },
    {
      id: "backing",
      short: "B",
      friendly: "backing",
      argument: "backing_file",
      summary: "the target gets this backing file and holds only what differs from it",
      group: "Result",
    },
    {
      id: "backingFormat",
      short: "F",
      friendly: "backing-format",
      argument: "backing_fmt",
      summary: "format of the backing file",
      group: "Result",
    },
    {
      id: "sparseSize",
      short: "S",
      friendly: "sparse-size",
      argument: "sparse_size",
      summary:
        "how many zero bytes in a row make a hole, a multiple of 512; 4k if not given, 0 for none at all",
      group: "Result",
      check: checkSparseSize,
    },
    {
      id: "noCreate",
      short: "n",
      friendly: "no-create",
      summary: "write into a target that exists, such as a device",
      group: "Behaviour",
    },
    {
      id: "targetIsZero",
      long: "target-is-zero",
      summary: "with -n: the target reads as zeros already",
      group: "Behaviour",
    },
    {
      id: "bitmaps",
      long: "bitmaps",
      summary: "also copy the persistent bitmaps of the source",
      group: "Result",
    },
    {
      id: "skipBrokenBitmaps",
      long: "skip-broken-bitmaps",
      summary: "with --bitmaps: leave out those that are inconsistent",
      group: "Result",
    },
    shareOption,
    ...progressOptions,
    quietOption,
    syncOption,
    jsonOption,
    {
      id: "cache",
      short: "t",
      argument: "cache",
      summary:
        "cache mode for writing: unsafe (default), writeback, writethrough, none or directsync; with every mode but unsafe the target is on stable storage when success is reported",
      group: "Behaviour",
    },
    sourceCacheOption,
    {
      id: "coroutines",
      short: "m",
      argument: "num_coroutines",
      summary: "1 to 16; checked, and without effect on the result",
      group: "For qemu-img's sake",
      different: "Checked only: how much is under way at once is chosen here.",
      check: checkCoroutines,
    },
    {
      id: "outOfOrder",
      short: "W",
      summary: "allowed, and without effect on the result",
      group: "For qemu-img's sake",
      different: "The permission is not used: the target is always written in order.",
    },
    {
      id: "copyOffload",
      short: "C",
      summary: "let the host copy where it can",
      group: "For qemu-img's sake",
      different:
        "Checked against -c, -S and --salvage as in qemu-img; the bytes are read and written by this program all the same, as they are there where the host cannot copy by itself.",
    },
    {
      id: "targetImageOpts",
      long: "target-image-opts",
      summary:
        "with -n: the target's name is a list of options, as in driver=qcow2,file.filename=disk.qcow2",
      group: "Images",
    },
    rateLimitOption,
    ...copySpeedOptions,
    {
      id: "reflink",
      friendly: "reflink",
      face: "platter",
      argument: "when",
      summary:
        "share the source's blocks instead of copying them, on filesystems that can (Btrfs, XFS): auto where it can be, always or fail, never (default). What is shared is not searched for zeros",
      group: "Behaviour",
      check: (value) => void oneOf("--reflink", value, shareModes),
    },
    {
      id: "salvage",
      long: "salvage",
      summary: "go on where a source cannot be read: what is unreadable becomes zeros",
      group: "Behaviour",
      better: "The friendly face lists the unreadable ranges at the end.",
    },
    {
      id: "snapshot",
      short: "l",
      friendly: "snapshot",
      argument: "snapshot_param",
      summary:
        "read this internal snapshot of the source: its id or name, or snapshot.id=ID,snapshot.name=NAME",
      group: "Images",
      check: readSnapshotParameter,
    },
  ],
  examples: [
    {
      line: "convert -O qcow2 disk.raw disk.qcow2",
      explanation: "A raw disk becomes a qcow2 image",
    },
    {
      line: "convert -p -c -O qcow2 -o compression_type=zstd disk.qcow2 small.qcow2",
      explanation: "A compressed copy, with progress",
    },
    {
      line: "convert -c -O qcow2 -o compression_type=zstd,compression_level=15 --threads 4 disk.raw small.qcow2",
      explanation: "As small as it gets, on four processors",
    },
    { line: "convert -n disk.qcow2 /dev/vg0/disk", explanation: "Onto a device" },
  ],
  run,
};

const shareModes = ["auto", "always", "never"] as const;

function checkSparseSize(value: string, session: Session): void {
  const what = "buffer size for sparse output";
  const size = parseSize(value, { what, onWarning: session.warn });
  if (size % 512 === 0 && size <= MAX_SPARSE_SIZE) return;
  throw argumentError(
    what,
    value,
    `-S takes a multiple of 512 up to ${MAX_SPARSE_SIZE}, or 0, not ${value}.`,
    `Invalid ${what} specified. Valid sizes are multiples of 512 up to ${MAX_SPARSE_SIZE}. ` +
      "Select 0 to disable sparse detection (fully allocates output).",
  );
}

function checkCoroutines(value: string): void {
  const number = readCNumber(value);
  if (number !== undefined && number >= 1 && number <= 16) return;
  throw argumentError(
    "-m",
    value,
    `-m takes a number from 1 to 16, not "${value}".`,
    "Invalid number of coroutines. Allowed number of coroutines is between 1 and 16",
  );
}

async function run(parsed: Parsed, session: Session): Promise<number> {
  const reflink = parsed.value("reflink");
  const list = splitOptionList(parsed.values("options"));
  const targetFormat = parsed.value("targetFormat") ?? "raw";
  checkCombinations(parsed);
  const sources = parsed.operands.slice(0, -1);
  const target = parsed.operands.at(-1);
  const formats = await session.services.formats();
  if (list.help) {
    const format = writableFormat(formats, targetFormat, undefined);
    printOptionHelp(session, formats, format, sources.length > 0);
    return 0;
  }
  if (target === undefined || sources.length === 0) {
    throw argumentError(
      "operands",
      undefined,
      "Name at least one source and the target.",
      "Must specify image file name",
    );
  }
  checkSources(parsed.value("backing"), sources);
  checkImageOpts(parsed);
  const sourceCache = readCacheMode(
    parsed.value("sourceCache") ?? "writeback",
    "source cache option",
  );
  const cache = readCacheMode(parsed.value("cache") ?? "unsafe");
  const format = writableFormat(formats, targetFormat, undefined);
  const { pairs, level } =
    session.face === "qemu"
      ? { pairs: list.pairs, level: undefined }
      : takeCompressionLevel(list.pairs, parsed.has("compress"));
  const { values, backing } = targetOptions(
    formats,
    format,
    pairs,
    { name: parsed.value("backing"), format: parsed.value("backingFormat") },
    `${target}: error while converting ${format}: `,
  );
  checkSources(backing?.name, sources);
  checkBacking(backing, parsed);
  const sourceFormat = parsed.value("format");
  const sparseSize = parsed.value("sparseSize");
  const rateText = parsed.value("rateLimit");
  const rateLimit = rateText === undefined ? undefined : parseSize(rateText);
  const snapshot = parsed.value("snapshot");
  if (snapshot !== undefined && sources.length > 1) {
    throw argumentError(
      "-l",
      snapshot,
      "-l reads a snapshot of one source; several are given.",
      "No support for concatenating multiple snapshot",
    );
  }
  await copy(
    {
      sources,
      target,
      ...(sourceFormat === undefined ? {} : { sourceFormat }),
      targetFormat: format,
      targetOptions: values,
      compress: parsed.has("compress"),
      ...(level === undefined ? {} : { compressionLevel: level }),
      ...copySpeed(parsed),
      ...(reflink === undefined ? {} : { share: oneOf("--reflink", reflink, shareModes) }),
      ...(backing === undefined ? {} : { backing }),
      ...(sparseSize === undefined ? {} : { sparseSize: parseSize(sparseSize) }),
      createTarget: !parsed.has("noCreate"),
      targetIsZero: parsed.has("targetIsZero"),
      imageOpts: parsed.has("imageOpts"),
      targetImageOpts: parsed.has("targetImageOpts"),
      shared: parsed.has("shared"),
      ...(snapshot === undefined ? {} : { snapshot: readSnapshotParameter(snapshot) }),
      bitmaps: parsed.has("bitmaps"),
      skipBrokenBitmaps: parsed.has("skipBrokenBitmaps"),
      sync: parsed.has("sync") || !cache.unsafe,
      writethrough: cache.writethrough,
      direct: cache.direct,
      sourceDirect: sourceCache.direct,
      ...(rateLimit === undefined || rateLimit === 0 ? {} : { bytesPerSecond: rateLimit }),
    },
    parsed,
    session,
  );
  return 0;
}

function checkCombinations(parsed: Parsed): void {
  checkOffloading(parsed);
  if (parsed.has("sync") && parsed.value("cache") === "unsafe") {
    const message = "--sync wants everything on stable storage, -t unsafe does not.";
    throw argumentError("--sync", undefined, message, message);
  }
  if (parsed.has("targetImageOpts") && !parsed.has("noCreate")) {
    throw argumentError(
      "--target-image-opts",
      undefined,
      "--target-image-opts is about a target that exists: use it with -n.",
      "--target-image-opts requires use of -n flag",
    );
  }
  if (parsed.has("targetImageOpts") && parsed.has("targetFormat")) {
    throw argumentError(
      "--target-image-opts",
      undefined,
      "With --target-image-opts the format is one of the options (driver=qcow2); leave -O out.",
      "--image-opts and --format are mutually exclusive",
    );
  }
  if (parsed.has("noCreate") && parsed.has("options")) {
    throw argumentError(
      "-o",
      parsed.value("options"),
      "-o says how to make the target, but with -n it is not made: leave one of them out.",
      "-o has no effect when skipping image creation",
    );
  }
  if (parsed.has("skipBrokenBitmaps") && !parsed.has("bitmaps")) {
    throw argumentError(
      "--skip-broken-bitmaps",
      undefined,
      "--skip-broken-bitmaps says which bitmaps --bitmaps leaves out: use both.",
      "Use of --skip-broken-bitmaps requires --bitmaps",
    );
  }
  if (parsed.has("targetIsZero") && !parsed.has("noCreate")) {
    throw argumentError(
      "--target-is-zero",
      undefined,
      "--target-is-zero is about a target that exists: use it with -n.",
      "--target-is-zero requires use of -n flag",
    );
  }
}

/** What -C does not go together with. */
function checkOffloading(parsed: Parsed): void {
  if (!parsed.has("copyOffload")) return;
  const conflicts = [
    ["sparseSize", "-S", "Cannot enable copy offloading when -S is used"],
    ["compress", "-c", "Cannot enable copy offloading when -c is used"],
    ["salvage", "--salvage", "Cannot use copy offloading in salvaging mode"],
  ] as const;
  for (const [id, option, qemu] of conflicts) {
    if (!parsed.has(id)) continue;
    throw argumentError("-C", undefined, `-C and ${option} do not go together.`, qemu);
  }
}

/** Several sources and a backing file `name` do not go together. */
function checkSources(name: string | undefined, sources: readonly string[]): void {
  if (name === undefined) return;
  if (sources.length > 1) {
    throw argumentError(
      "backing file",
      name,
      "A target made of several sources cannot have a backing file.",
      "Having a backing file for the target makes no sense when concatenating multiple input images",
    );
  }
}

function checkBacking(backing: ConvertOptions["backing"], parsed: Parsed): void {
  if (backing === undefined) return;
  if (parsed.has("targetIsZero")) {
    throw argumentError(
      "--target-is-zero",
      undefined,
      "--target-is-zero cannot be true of a target with a backing file.",
      "Cannot use --target-is-zero when the destination image has a backing file",
    );
  }
  if (backing.format === undefined && !parsed.has("noCreate")) {
    throw argumentError(
      "backing format",
      undefined,
      "Say with -F which format the backing file has.",
      "Use of backing file requires explicit backing format",
    );
  }
}

async function copy(options: ConvertOptions, parsed: Parsed, session: Session): Promise<void> {
  const { now } = session.environment;
  const start = now();
  const convert = await session.services.command("convert");
  const look = { step: 1, eager: true };
  const losses = new Losses(parsed, session);
  const salvage = parsed.has("salvage") ? { onReadError: losses.add } : {};
  const result = await session.withProgress(parsed, look, async (display) => {
    const done = await convert({ ...options, ...salvage }, await session.context(display.update));
    display.finish();
    return done;
  });
  if (session.face === "qemu" || parsed.has("quiet")) return;
  losses.show();
  const { target, targetFormat } = options;
  if (parsed.has("json")) {
    const json = {
      filename: target,
      format: targetFormat,
      "virtual-size": result.size,
      unreadable: losses.ranges.length === 0 ? undefined : losses.ranges,
    };
    session.print(`${plainJson(json)}\n`);
    return;
  }
  const seconds = (now() - start) / 1000;
  const took = seconds < 1 ? "" : session.paint("faint", ` in ${formatDuration(seconds)}`);
  const name = session.paint("name", session.safe(target));
  session.print(`Wrote ${name}: ${targetFormat}, ${formatSize(result.size)}${took}\n`);
}
