import { type CompareOptions, type CompareResult, formatExactSize } from "../contract.ts";
import { plainJson } from "../json.ts";
import {
  checkImageOpts,
  formatOption,
  imageOptsOption,
  jsonOption,
  objectOption,
  progressOptions,
  quietOption,
  shareOption,
} from "../options.ts";
import { readCacheMode, sourceCacheOption } from "../cache-mode.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { usageError } from "../usage.ts";

/** Exit code when an image cannot be opened. */
const EXIT_OPEN = 2;
/** Exit code when an image cannot be read. */
const EXIT_READ = 4;

/** The table entry of `compare`. */
export const compareCommand: CommandSpec = {
  name: "compare",
  summary: "tell whether two images hold the same disk",
  description:
    "Compares what guests would read, whatever the formats. If one disk is larger, the rest of it has to be zeros. With -s the sizes and the allocation have to be the same too.",
  operands: "filename1 filename2",
  options: [
    objectOption,
    imageOptsOption,
    { ...formatOption, friendly: "format1", summary: "format of the first image" },
    {
      id: "secondFormat",
      short: "F",
      friendly: "format2",
      argument: "fmt",
      summary: "format of the second image",
      group: "Images",
    },
    sourceCacheOption,
    ...progressOptions,
    quietOption,
    jsonOption,
    {
      id: "strict",
      short: "s",
      friendly: "strict",
      summary: "sizes and allocation have to be equal too",
      group: "Behaviour",
    },
    shareOption,
  ],
  examples: [
    { line: "compare disk.raw disk.qcow2", explanation: "Did the conversion keep every byte?" },
  ],
  exitCodes: [
    [1, "the images differ, or the command line is wrong"],
    [EXIT_OPEN, "an image cannot be opened"],
    [EXIT_READ, "an image cannot be read"],
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const [first, second, ...others] = parsed.operands;
  if (first === undefined || second === undefined || others.length > 0) {
    throw usageError(
      `Two images are expected, ${parsed.operands.length} are named.`,
      "Expecting two image file names",
    );
  }
  const firstFormat = parsed.value("format");
  const secondFormat = parsed.value("secondFormat");
  const options: CompareOptions = {
    first,
    second,
    ...(firstFormat === undefined ? {} : { firstFormat }),
    ...(secondFormat === undefined ? {} : { secondFormat }),
    strict: parsed.has("strict"),
    imageOpts: parsed.has("imageOpts"),
    shared: parsed.has("shared"),
  };
  const compare = await session.services.command("compare");
  session.exitCodeOnError = EXIT_OPEN;
  const cache = readCacheMode(parsed.value("sourceCache") ?? "writeback", "source cache option");
  checkImageOpts(parsed);
  const result = await session.withProgress(parsed, { step: 2, eager: false }, async (display) => {
    const context = await session.context((progress) => {
      // The first sign of progress tells that both images are open.
      session.exitCodeOnError = EXIT_READ;
      display.update(progress);
    });
    const compared = await compare({ ...options, direct: cache.direct }, context);
    if (compared.identical) display.finish();
    if (!parsed.has("quiet")) show(compared, parsed.has("json"), session);
    return compared;
  });
  return result.identical ? 0 : 1;
}

function show(result: CompareResult, json: boolean, session: Session): void {
  if (json) {
    const { identical, sizeDiffers, difference, larger } = result;
    session.print(
      `${plainJson({
        identical,
        "size-differs": sizeDiffers,
        larger: larger,
        difference: difference && {
          kind: difference.kind,
          offset: difference.kind === "size" ? undefined : difference.offset,
        },
      })}\n`,
    );
  } else if (session.face === "qemu") session.print(qemuText(result));
  else session.print(friendlyText(result, session));
}

function qemuText(result: CompareResult): string {
  const { difference } = result;
  if (difference?.kind === "size") return "Strict mode: Image size mismatch!\n";
  if (difference?.kind === "allocation") {
    return `Strict mode: Offset ${BigInt(difference.offset)} block status mismatch!\n`;
  }
  // The sizes become a topic when the common part has turned out equal.
  const isInRest = difference === undefined || difference.offset >= result.commonSize;
  const warning = result.sizeDiffers && isInRest ? "Warning: Image size mismatch!\n" : "";
  if (difference === undefined) return `${warning}Images are identical.\n`;
  // qemu-img looks at sectors.
  const sector = difference.offset - (difference.offset % 512);
  return `${warning}Content mismatch at offset ${BigInt(sector)}!\n`;
}

function friendlyText(result: CompareResult, session: Session): string {
  const { difference, sizeDiffers, larger } = result;
  const { paint } = session;
  const size = sizeDiffers ? ` The ${larger ?? "other"} disk is larger.` : "";
  if (difference === undefined) {
    const rest = sizeDiffers ? `${size} The rest of it is zeros.` : "";
    return `${paint("good", "The disks are identical.")}${rest}\n`;
  }
  if (difference.kind === "size") return `${paint("bad", "The disks differ in size.")}${size}\n`;
  const where = formatExactSize(difference.offset);
  return difference.kind === "content"
    ? `${paint("bad", "The disks differ,")} first at offset ${where}.${size}\n`
    : `${paint("bad", "The disks are allocated differently,")} first at offset ${where}.${size}\n`;
}
