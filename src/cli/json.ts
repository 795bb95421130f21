import { escapeControls } from "../errors.ts";
import { qemuKeyOrder } from "./contract.ts";

/** What can be written as JSON. Whole numbers above 2^53 are written with all their digits. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

interface Style {
  readonly indent: string;
  readonly keys: (keys: string[]) => string[];
  readonly escape: (code: number) => boolean;
  readonly hex: (code: number) => string;
  readonly emptyList: (newline: string) => string;
}

const QEMU: Style = {
  indent: "    ",
  keys: qemuKeyOrder,
  escape: (code) => code < 0x20 || code >= 0x7f,
  hex: (code) => `\\u${code.toString(16).toUpperCase().padStart(4, "0")}`,
  emptyList: (newline) => `[${newline}]`,
};

const PLAIN: Style = {
  indent: "  ",
  keys: (keys) => keys,
  escape: (code) =>
    (code < 0x20 || code >= 0x7f) && escapeControls(String.fromCharCode(code)).length > 1,
  hex: (code) => `\\u${code.toString(16).padStart(4, "0")}`,
  emptyList: () => "[]",
};

/** JSON as qemu-img prints it: its indentation, its order of keys, ASCII only. No final newline. */
export function qemuJson(value: JsonValue): string {
  return write(value, QEMU, "\n");
}

/** JSON for people and programs: two spaces, keys in the order given. No final newline. */
export function plainJson(value: JsonValue): string {
  return write(value, PLAIN, "\n");
}

/** JSON on one line, for streams of objects. */
export function jsonLine(value: JsonValue): string {
  return write(value, { ...PLAIN, indent: "" }, "");
}

function write(value: JsonValue, style: Style, newline: string): string {
  if (typeof value === "string") return quote(value, style);
  if (typeof value === "number") {
    return Number.isInteger(value) ? String(BigInt(value)) : JSON.stringify(value);
  }
  if (value === null || typeof value === "boolean") return String(value);
  const inner = newline + (newline === "" ? "" : style.indent);
  const separator = newline === "" ? ", " : `,${inner}`;
  if (isList(value)) {
    if (value.length === 0) return style.emptyList(newline);
    return `[${inner}${value.map((item) => write(item, style, inner)).join(separator)}${newline}]`;
  }
  const members: string[] = [];
  for (const key of style.keys(Object.keys(value))) {
    const member = value[key];
    if (member !== undefined) {
      members.push(`${quote(key, style)}: ${write(member, style, inner)}`);
    }
  }
  return members.length === 0 ? "{}" : `{${inner}${members.join(separator)}${newline}}`;
}

function isList(
  value: readonly JsonValue[] | { readonly [key: string]: JsonValue | undefined },
): value is readonly JsonValue[] {
  return Array.isArray(value);
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

function quote(text: string, style: Style): string {
  let result = '"';
  // By UTF-16 units: characters beyond U+FFFF come out as two escapes, as JSON wants it.
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const unit = text.charAt(i);
    result += SHORT[unit] ?? (style.escape(code) ? style.hex(code) : unit);
  }
  return `${result}"`;
}
