import { PlatterError } from "../errors.ts";
import { formats } from "../formats/index.ts";
import { type FormatOptionDescription, type FormatServices, readSize } from "./contract.ts";

type OptionType = FormatOptionDescription["type"];

/** Options of every format with a backing file, and of every format at all. */
const backingOptions: readonly FormatOptionDescription[] = [
  { name: "backing_file", type: "string", summary: "File name of a base image" },
  { name: "backing_fmt", type: "string", summary: "Image format of the base image" },
];
const sizeOption: FormatOptionDescription = {
  name: "size",
  type: "size",
  summary: "Virtual disk size",
};

/** What the registered formats answer to the command line. */
export const formatServices: FormatServices = {
  names: formats.map((format) => format.name).toSorted(),
  isWritable: (name) => formats.some((format) => format.name === name && "create" in format),
  describe,
  parse(format, pairs) {
    const types = new Map<string, OptionType>();
    for (const { name, type } of describe(format, true)) types.set(name, type);
    return readValues(pairs, types, format);
  },
  describeAmend,
  parseAmend(format, pairs) {
    const types = new Map(describeAmend(format).map(({ name, type }) => [name, type]));
    try {
      return readValues(pairs, types, format);
    } catch (error) {
      if (!(error instanceof PlatterError) || !isForCreation(format, pairs)) throw error;
      const message = `${error.message} It is one for making images; "convert" makes a new one.`;
      const qemu = `${error.details.qemu}\nThis option is only supported for image creation`;
      throw new PlatterError(error.code, message, { ...error.details, qemu });
    }
  },
};

function readValues(
  pairs: ReadonlyArray<readonly [name: string, value: string]>,
  types: ReadonlyMap<string, OptionType>,
  format: string,
): Record<string, string | number | boolean> {
  const values: Record<string, string | number | boolean> = {};
  for (const [name, text] of pairs) {
    const type = types.get(name);
    if (type === undefined) {
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `The format ${format} has no option "${name}" here; -o help lists those it has.`,
        { field: name, value: text, qemu: `Invalid parameter '${name}'` },
      );
    }
    values[name] = readValue(name, type, text);
  }
  return values;
}

/** Whether all of the options could be given when an image is made. */
function isForCreation(
  format: string,
  pairs: ReadonlyArray<readonly [name: string, value: string]>,
): boolean {
  try {
    const known = formatServices.describeAmend(format).map(({ name }) => name);
    const others = pairs.filter(([name]) => !known.includes(name));
    formatServices.parse(format, others);
    return others.length > 0;
  } catch {
    return false;
  }
}

/** What can be changed about images of a format. */
function describeAmend(name: string): FormatOptionDescription[] {
  const format = formats.find((known) => known.name === name);
  return (format?.amendOptions ?? [])
    .map(({ name: called, type, help: summary }) => ({ name: called, type, summary }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** A format's options by name; with those of the file that it is written to, if wanted. */
function describe(name: string, includeFile: boolean): FormatOptionDescription[] {
  const found = new Map<string, FormatOptionDescription>([["size", sizeOption]]);
  const add = (option: FormatOptionDescription): void => {
    if (!found.has(option.name)) found.set(option.name, option);
  };
  const format = formats.find((known) => known.name === name);
  if (format?.hasBacking === true) for (const option of backingOptions) add(option);
  for (const other of formats) {
    for (const option of other.createOptions ?? []) {
      const isWanted = option.file === true ? includeFile : other.name === name;
      const { name: called, type, help: summary, newer = false } = option;
      if (isWanted) add({ name: called, type, summary, newer });
    }
  }
  return [...found.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function readValue(name: string, type: OptionType, text: string): string | number | boolean {
  if (type === "string") return text;
  if (type === "boolean") return readBoolean(name, text);
  return type === "size" ? readSizeValue(name, text) : readNumber(name, text);
}

function readBoolean(name: string, text: string): boolean {
  if (["on", "yes", "true", "y"].includes(text)) return true;
  if (["off", "no", "false", "n"].includes(text)) return false;
  throw invalid(name, text, "on or off", `Parameter '${name}' expects 'on' or 'off'`);
}

function readSizeValue(name: string, text: string): number {
  const reading = readSize(text);
  if (reading.kind === "size") return Number(reading.value);
  if (reading.kind === "range") {
    const qemu = `Value '${text}' is out of range for parameter '${name}'`;
    throw invalid(name, text, "a size below 2^64", qemu);
  }
  throw invalid(
    name,
    text,
    "a size such as 64k",
    `Parameter '${name}' expects a non-negative number below 2^64\n` +
      "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n" +
      "and exabytes, respectively.",
  );
}

/** A number as C reads it: octal after 0, hexadecimal after 0x. Negative ones wrap around there. */
function readNumber(name: string, text: string): number {
  const found = /^\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text);
  const [, sign = "", digits = ""] = found ?? [];
  if (found === null) {
    throw invalid(name, text, "a number", `Parameter '${name}' expects a number`);
  }
  const value = BigInt(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits);
  if (value >= 2n ** 64n) {
    const qemu = `Value '${text}' is too large for parameter '${name}'`;
    throw invalid(name, text, "a number below 2^64", qemu);
  }
  return sign === "-" ? -Number(value) : Number(value);
}

function invalid(name: string, text: string, expected: string, qemu: string): PlatterError {
  return new PlatterError(
    "E_INVALID_ARGUMENT",
    `The creation option ${name} takes ${expected}, not "${text}".`,
    { field: name, value: text, qemu },
  );
}
