import { PlatterError } from "../../errors.ts";
import {
  formatExactSize,
  type FormatOptionValues,
  type FormatServices,
  type MeasureCommandOptions,
  type Measurement,
  parseSize,
} from "../contract.ts";
import { splitOptionList, writableFormat } from "../format-options.ts";
import { plainJson, qemuJson } from "../json.ts";
import { alignColumns } from "../layout.ts";
import {
  checkImageOpts,
  formatOptionsOption,
  imageOptsOption,
  jsonOption,
  longFormatOption,
  objectOption,
  outputOption,
  shareOption,
  sizeCheck,
  wantsJson,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import { readSnapshotParameter } from "../snapshot-parameter.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError } from "../usage.ts";

/** The table entry of `measure`. */
export const measureCommand: CommandSpec = {
  name: "measure",
  summary: "tell how large a new image file would become",
  description:
    "Computes the size of the file that `convert` would make of an image, or that a new image of some size would have: at first, and when the guest has written everything. Nothing is made. Compression and zeros inside data are not taken into account.",
  operands: "[filename]",
  options: [
    objectOption,
    imageOptsOption,
    { ...longFormatOption, summary: "format of the image; found out if not given" },
    {
      id: "targetFormat",
      short: "O",
      friendly: "target-format",
      argument: "output_fmt",
      summary: "format of the new image; raw if not given",
      group: "Result",
    },
    {
      ...formatOptionsOption,
      different: "`help` lists nothing, as in qemu-img, where it is no option either.",
    },
    {
      id: "size",
      long: "size",
      argument: "n",
      summary: "measure a new image of this size instead of a copy",
      group: "Images",
      check: sizeCheck("image size"),
    },
    {
      id: "snapshot",
      short: "l",
      long: "snapshot",
      argument: "snapshot_param",
      summary: "measure this internal snapshot of the image",
      group: "Images",
      check: readSnapshotParameter,
    },
    outputOption,
    jsonOption,
    shareOption,
  ],
  examples: [
    {
      line: "measure -O qcow2 --size 100G",
      explanation: "How large is a new image, empty and full?",
    },
    { line: "measure -O qcow2 disk.raw", explanation: "Will the copy fit?" },
  ],
  run,
};

/** Formats of QEMU's whose size cannot be told there either. */
const unmeasurable = [
  "file",
  "host_device",
  "parallels",
  "qcow",
  "qed",
  "vdi",
  "vhdx",
  "vmdk",
  "vpc",
];

async function run(parsed: Parsed, session: Session): Promise<number> {
  const json = wantsJson(parsed);
  const [name, ...others] = parsed.operands;
  const sizeText = parsed.value("size");
  checkOperands(parsed, name, others.length > 0);
  checkImageOpts(parsed);
  const formats = await session.services.formats();
  const targetFormat = parsed.value("targetFormat") ?? "raw";
  const format = parsed.value("format");
  const snapshot = parsed.value("snapshot");
  const options: MeasureCommandOptions = {
    targetFormat,
    targetOptions: () => readOptions(formats, targetFormat, parsed, session),
    ...(sizeText === undefined ? {} : { size: parseSize(sizeText, { roundTo: 512 }) }),
    ...(name === undefined
      ? {}
      : {
          source: {
            name,
            ...(format === undefined ? {} : { format }),
            imageOpts: parsed.has("imageOpts"),
            shared: parsed.has("shared"),
            ...(snapshot === undefined ? {} : { snapshot: readSnapshotParameter(snapshot) }),
          },
        }),
  };
  const measure = await session.services.command("measure");
  const result = await measure(options, await session.context()).catch((error: unknown) => {
    throw asKnownFormat(error, targetFormat);
  });
  show(result, json, session);
  return 0;
}

function checkOperands(parsed: Parsed, name: string | undefined, isTooMany: boolean): void {
  const refuse = (message: string, qemu: string): PlatterError =>
    argumentError("operands", undefined, message, qemu);
  if (isTooMany) {
    throw refuse("Name one image only.", "At most one filename argument is allowed.");
  }
  const isAboutImage = ["imageOpts", "format", "snapshot"].some((id) => parsed.has(id));
  if (name === undefined && isAboutImage) {
    throw refuse(
      "--image-opts, -f and -l say something about an image: name it.",
      "--image-opts, -f, and -l require a filename argument.",
    );
  }
  if (name === undefined && !parsed.has("size")) {
    throw refuse(
      "Say what to measure: an image, or a size with --size.",
      "Either --size N or one filename must be specified.",
    );
  }
  if (name !== undefined && parsed.has("size")) {
    throw refuse(
      "Say either --size or an image, not both.",
      "--size N cannot be used together with a filename.",
    );
  }
}

function readOptions(
  formats: FormatServices,
  targetFormat: string,
  parsed: Parsed,
  session: Session,
): FormatOptionValues {
  writableFormat(formats, targetFormat, undefined);
  const list = splitOptionList(parsed.values("options"));
  let values: FormatOptionValues;
  try {
    if (list.help) formats.parse(targetFormat, [["help", ""]]);
    values = formats.parse(targetFormat, list.pairs);
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    const qemu =
      `${error.details.qemu ?? error.message}\n` +
      `qemu-img: Invalid options for file format '${targetFormat}'`;
    throw new PlatterError(error.code, error.message, { ...error.details, qemu });
  }
  checkSecret(values, session);
  return values;
}

/** The secret of an encrypted image has to be there, though only its id counts. */
function checkSecret(values: FormatOptionValues, { objects }: Session): void {
  const { "encrypt.format": format, "encrypt.key-secret": id } = values;
  if (format !== "luks" || id === undefined || objects.some((object) => object.id === id)) return;
  throw argumentError(
    "encrypt.key-secret",
    String(id),
    `There is no secret "${String(id)}"; define it with --object.`,
    `No secret with id '${String(id)}'`,
  );
}

/** QEMU knows more formats than can be measured. */
function asKnownFormat(error: unknown, format: string): unknown {
  const isUnknown = error instanceof PlatterError && error.code === "E_UNKNOWN_FORMAT";
  if (!isUnknown || error.details.value !== format || !unmeasurable.includes(format)) return error;
  const qemu = `Block driver '${format}' does not support size measurement`;
  return new PlatterError(error.code, error.message, { ...error.details, qemu });
}

function show(result: Measurement, json: boolean, session: Session): void {
  const { required, fullyAllocated, bitmaps } = result;
  if (json) {
    const write = session.face === "qemu" ? qemuJson : plainJson;
    session.print(`${write({ required, "fully-allocated": fullyAllocated, bitmaps })}\n`);
    return;
  }
  if (session.face === "qemu") {
    session.print(`required size: ${BigInt(required)}\n`);
    session.print(`fully allocated size: ${BigInt(fullyAllocated)}\n`);
    if (bitmaps !== undefined) session.print(`bitmaps size: ${BigInt(bitmaps)}\n`);
    return;
  }
  const rows = [
    ["At first", formatExactSize(required)],
    ["When full", formatExactSize(fullyAllocated)],
  ];
  if (bitmaps !== undefined && bitmaps > 0) rows.push(["Bitmaps", formatExactSize(bitmaps)]);
  session.print(
    alignColumns(rows.map(([label = "", value = ""]) => [session.paint("faint", label), value])),
  );
}
