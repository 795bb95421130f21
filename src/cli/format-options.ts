import type { FormatOptionDescription, FormatServices } from "./contract.ts";
import type { Session } from "./session.ts";
import { argumentError } from "./usage.ts";

/**
 * A value of `-o` must not be empty, begin with a comma, or end in a single one: joined with the
 * next one it would mean something else.
 *
 * @throws `E_INVALID_ARGUMENT`
 */
export function checkOptionList(list: string): void {
  const commas = /,*$/.exec(list)?.[0].length ?? 0;
  if (list !== "" && !list.startsWith(",") && commas % 2 === 0) return;
  throw argumentError(
    "-o",
    list,
    `-o takes name=value, separated by commas, not "${list}".`,
    `Invalid option list: ${list}`,
  );
}

/** What the values of `-o` say. */
export interface OptionList {
  /** Names and values in the order given. */
  readonly pairs: ReadonlyArray<readonly [name: string, value: string]>;
  /** `help` or `?` is among them. */
  readonly help: boolean;
}

/**
 * Splits option lists: `name=value`, `name` for on and `noname` for off, with a doubled comma for
 * a comma in a value. As in QEMU, `nocow` alone therefore means "cow off"; write `nocow=on`.
 */
export function splitOptionList(lists: readonly string[]): OptionList {
  const pairs: (readonly [string, string])[] = [];
  let help = false;
  let rest = lists.join(",");
  while (rest !== "") {
    const name = /^[^=,]*/.exec(rest)?.[0] ?? "";
    rest = rest.slice(name.length);
    if (rest.startsWith("=")) {
      const value = /^(?:[^,]|,,)*/.exec(rest.slice(1))?.[0] ?? "";
      pairs.push([name, value.replaceAll(",,", ",")]);
      rest = rest.slice(1 + value.length);
    } else if (name === "help" || name === "?") help = true;
    else if (name.startsWith("no")) pairs.push([name.slice(2), "off"]);
    else pairs.push([name, "on"]);
    rest = rest.slice(1);
  }
  return { pairs, help };
}

/** The format of that name, if images of it can be made. */
export function writableFormat(
  formats: FormatServices,
  name: string,
  file: string | undefined,
): string {
  if (formats.isWritable(name)) return name;
  throw argumentError(
    "format",
    name,
    `Images of the format "${name}" cannot be made; ${formats.names.join(" and ")} can.`,
    `${file === undefined ? "" : `${file}: `}Unknown file format '${name}'`,
  );
}

const TYPES = { string: "str", size: "size", number: "num", boolean: "bool (on/off)" } as const;

/** Prints what `-o help` prints: the format's options, with a file name also those of files. */
export function printOptionHelp(
  session: Session,
  formats: FormatServices,
  format: string,
  hasFile: boolean,
): void {
  const { face } = session;
  session.print(hasFile ? "Supported options:\n" : `Supported ${format} options:\n`);
  for (const option of formats.describe(format, hasFile)) {
    if (face === "platter" || option.newer !== true) session.print(helpLine(option));
  }
  if (!hasFile && face === "qemu") {
    session.print("\nThe protocol level may support further options.\n");
    session.print("Specify the target filename to include those options.\n");
  }
}

/** Prints what `amend -o help` prints: what can be changed about images of the format. */
export function printAmendHelp(session: Session, formats: FormatServices, format: string): void {
  session.print(`Amend options for '${format}':\n`);
  for (const option of formats.describeAmend(format)) session.print(helpLine(option));
}

function helpLine({ name, type, summary }: FormatOptionDescription): string {
  return `  ${`${name}=<${TYPES[type]}>`.padEnd(22)} - ${summary}\n`;
}
