import { PlatterError } from "../errors.ts";
import { qemuKeyOrder } from "./qdict.ts";
import { parseQemuJson, type QemuJson } from "./qemu-json.ts";

/** The value of one option of a node. Option lists give strings, JSON also the others. */
export type NodeValue = string | number | boolean | null;

/**
 * The options of a node of QEMU's block graph by their dotted names (`file.filename`). Whoever
 * understands an option takes it; what is left at the end nobody understands.
 */
export class NodeOptions {
  private readonly values: Map<string, NodeValue>;

  constructor(values: Iterable<readonly [name: string, value: NodeValue]> = []) {
    this.values = new Map(values);
  }

  /** Names of the options that nobody has taken, in the order in which QEMU looks at them. */
  get names(): string[] {
    return qemuKeyOrder([...this.values.keys()]);
  }

  /** The option, which is then gone; undefined if it is not there. */
  take(name: string): NodeValue | undefined {
    const value = this.values.get(name);
    this.values.delete(name);
    return value;
  }

  /** As {@link NodeOptions.take}; what is no text counts as absent, as it does in QEMU. */
  takeText(name: string): string | undefined {
    const value = this.take(name);
    return typeof value === "string" ? value : undefined;
  }

  /** An on/off option. @throws `E_INVALID_ARGUMENT` */
  takeBoolean(name: string): boolean | undefined {
    const value = this.take(name);
    return value === undefined ? undefined : readNodeBoolean(name, value);
  }

  /** The options below `prefix` (with its dot), under the rest of their names; they are gone here. */
  takeBelow(prefix: string): NodeOptions {
    const found: [string, NodeValue][] = [];
    for (const [name, value] of this.values) {
      if (!name.startsWith(prefix)) continue;
      found.push([name.slice(prefix.length), value]);
      this.values.delete(name);
    }
    return new NodeOptions(found);
  }

  /** Gives an option, unless it is there. */
  setDefault(name: string, value: NodeValue): void {
    if (!this.values.has(name)) this.values.set(name, value);
  }

  /** Gives an option. */
  set(name: string, value: NodeValue): void {
    this.values.set(name, value);
  }

  has(name: string): boolean {
    return this.values.has(name);
  }

  /** Whether the option is there and text. */
  hasText(name: string): boolean {
    return typeof this.values.get(name) === "string";
  }
}

/**
 * Reads an option list as `--image-opts` takes it: `name=value`, separated by commas, a comma inside
 * a value doubled. The first item may be a value alone, which is that of `file`.
 */
export function parseNodeList(text: string, onWarning?: (message: string) => void): NodeOptions {
  const options = new NodeOptions();
  let rest = text;
  for (let first = true; rest !== ""; first = false) {
    const name = /^[^=,]*/.exec(rest)?.[0] ?? "";
    const isPair = rest[name.length] === "=";
    const from = isPair ? name.length + 1 : 0;
    const raw = /^(?:[^,]|,,)*/.exec(rest.slice(from))?.[0] ?? "";
    const value = raw.replaceAll(",,", ",");
    if (isPair) options.set(name, value);
    else if (first) options.set("file", value);
    else setSwitch(options, name, onWarning);
    rest = rest.slice(isPair || first ? from + raw.length + 1 : name.length + 1);
  }
  return options;
}

/** `name` alone is on, `noname` off; both are old ways of writing. */
function setSwitch(
  options: NodeOptions,
  word: string,
  onWarning: ((message: string) => void) | undefined,
): void {
  const isOff = word.startsWith("no");
  const name = isOff ? word.slice(2) : word;
  const value = isOff ? "off" : "on";
  onWarning?.(
    `short-form boolean option '${word}' deprecated\nPlease use ${name}=${value} instead`,
  );
  options.set(name, value);
}

/**
 * Reads what follows `json:` in an image name: an object, nested or with dotted names.
 *
 * @throws `E_INVALID_ARGUMENT` with QEMU's words
 */
export function parseNodeJson(text: string): NodeOptions {
  let value: QemuJson;
  try {
    value = parseQemuJson(text);
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    const qemu = `Could not parse the JSON options: ${error.details.qemu ?? error.message}`;
    throw new PlatterError(error.code, error.message, { ...error.details, qemu });
  }
  if (!(value instanceof Map)) {
    throw nodeError("json:", text, "Invalid JSON object given", "json: takes an object in braces");
  }
  const options = new NodeOptions();
  flatten(value, "", options);
  return options;
}

/** Nested objects become dotted names, items of lists numbered ones; empty ones nothing. */
function flatten(value: QemuJson, name: string, into: NodeOptions): void {
  const prefix = name === "" ? "" : `${name}.`;
  if (value instanceof Map) {
    for (const [key, member] of value as ReadonlyMap<string, QemuJson>) {
      flatten(member, prefix + key, into);
    }
  } else if (isList(value)) {
    value.forEach((item, index) => flatten(item, `${prefix}${index}`, into));
  } else into.set(name, value as NodeValue);
}

const isList = (value: QemuJson): value is readonly QemuJson[] => Array.isArray(value);

/** On or off, as text or as JSON. @throws `E_INVALID_ARGUMENT` */
function readNodeBoolean(name: string, value: NodeValue): boolean {
  if (value === true || ["on", "yes", "true", "y"].includes(String(value))) return true;
  if (value === false || ["off", "no", "false", "n"].includes(String(value))) return false;
  throw nodeError(name, value, `Parameter '${name}' expects 'on' or 'off'`, "say on or off");
}

/** A mistake in the options of a node. */
export function nodeError(
  field: string,
  value: NodeValue | undefined,
  qemu: string,
  advice: string,
): PlatterError {
  const shown = value === undefined ? "" : `=${String(value)}`;
  return new PlatterError("E_INVALID_ARGUMENT", `Image option ${field}${shown}: ${advice}.`, {
    field,
    value: String(value),
    qemu,
  });
}
