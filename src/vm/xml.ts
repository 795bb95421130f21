import { PlatterError } from "../errors.ts";

/** An element, to be written. */
export interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | number | undefined>>;
  /** Elements inside, or text. */
  readonly content: readonly Element[] | string;
}

/** An element with attributes; those that are undefined are left out. */
export function element(
  name: string,
  attributes: Element["attributes"] = {},
  content: ReadonlyArray<Element | undefined> | string = [],
): Element {
  const kept =
    typeof content === "string" ? content : content.filter((child) => child !== undefined);
  return { name, attributes, content: kept };
}

/**
 * The element as XML 1.0, two spaces an indentation, with a newline at its end.
 *
 * @throws `E_INVALID_ARGUMENT` for characters that XML cannot hold
 */
export function toXml({ name, attributes, content }: Element, indent = ""): string {
  const listed = Object.entries(attributes)
    .flatMap(([key, value]) => (value === undefined ? [] : [` ${key}="${escape(String(value))}"`]))
    .join("");
  if (content.length === 0) return `${indent}<${name}${listed}/>\n`;
  if (typeof content === "string")
    return `${indent}<${name}${listed}>${escape(content)}</${name}>\n`;
  const inside = content.map((child) => toXml(child, `${indent}  `)).join("");
  return `${indent}<${name}${listed}>\n${inside}${indent}</${name}>\n`;
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};

function escape(text: string): string {
  if (/\p{Cc}|\p{Cs}|[\ufffe\uffff]/u.test(text)) {
    const shown = JSON.stringify(text);
    throw new PlatterError("E_INVALID_ARGUMENT", `${shown} has characters that XML cannot hold.`, {
      value: shown,
    });
  }
  return text.replaceAll(/[&<>"']/g, (character) => entities[character] ?? character);
}
