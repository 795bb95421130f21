import { Getopt, type GetoptOption } from "./getopt.ts";
import type { Session } from "./session.ts";
import type { CommandSpec, Face, OptionSpec } from "./spec.ts";
import { nearest } from "./suggest.ts";
import { argumentError, notSupported, usageError } from "./usage.ts";

/** The options and operands of a command line. */
export interface Parsed {
  /** Whether the option was given. */
  has(id: string): boolean;
  /** The option's value, the last one if it was given more than once. */
  value(id: string): string | undefined;
  /** Every value of the option, in order. */
  values(id: string): readonly string[];
  /** All options as they were given, in order; the value of a switch is empty. */
  readonly given: ReadonlyArray<{ readonly id: string; readonly value: string }>;
  readonly operands: readonly string[];
  /** `--help` was met before anything wrong; nothing else counts then. */
  readonly help: boolean;
}

/** Every command of the `platter` face has it. */
const untrustedOption: OptionSpec = {
  id: "untrusted",
  face: "platter",
  friendly: "untrusted",
  summary: "images come from strangers: open no file that an image names",
  group: "Behaviour",
};

/** Every command of the `platter` face has it, too. */
const timeoutOption: OptionSpec = {
  id: "timeout",
  face: "platter",
  friendly: "timeout",
  argument: "seconds",
  summary:
    "give up when a disk or server has not answered a request for so long; without it, wait as the system does",
  group: "Behaviour",
  check: (value) => void readTimeout(value),
};

/** The value of `--timeout` in milliseconds. @throws `E_INVALID_ARGUMENT` */
export function readTimeout(value: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(value) ? Number(value) : 0;
  if (seconds > 0 && seconds <= 1_000_000) return seconds * 1000;
  const message = `--timeout takes a number of seconds above 0 and up to a million, not "${value}".`;
  throw argumentError("timeout", value, message, message);
}

/** The options that the command has in that face. */
export function optionsOf(command: CommandSpec, face: Face): OptionSpec[] {
  const own = command.options.filter((option) => option.face === undefined || option.face === face);
  return face === "platter" ? [...own, untrustedOption, timeoutOption] : own;
}

/** The long names of an option in that face. */
export function longNames(option: OptionSpec, face: Face): string[] {
  const names: string[] = [];
  if (face === "platter" && option.friendly !== undefined) names.push(option.friendly);
  if (option.long !== undefined && !names.includes(option.long)) names.push(option.long);
  return names;
}

/** The option as the user would write it: its long name if it has one. */
function optionName(option: OptionSpec, face: Face): string {
  const [long] = longNames(option, face);
  if (face === "qemu" && option.short !== undefined) return `-${option.short}`;
  return long === undefined ? `-${option.short ?? ""}` : `--${long}`;
}

/**
 * Reads the words after the program's name, the first of which is the command's name. Values are
 * checked in the order in which they stand, as qemu-img does.
 *
 * @throws `E_INVALID_ARGUMENT`, `E_INVALID_SIZE` or `E_UNSUPPORTED` with QEMU's words
 */
export function parseCommandLine(
  command: CommandSpec,
  words: readonly string[],
  session: Session,
): Parsed {
  const { face } = session;
  const options = optionsOf(command, face);
  const last = words.slice(1).at(-1) ?? "";
  // For people, an option is an option also at the end: only a number to take away is none.
  const lastIsOperand =
    command.lastWordIsOperand === true &&
    words.length > 1 &&
    (face === "qemu" || /^-\d/.test(last));
  const lastWord = lastIsOperand ? last : undefined;
  const getopt = new Getopt(
    lastWord === undefined ? words : words.slice(0, -1),
    getoptOptions(options, face),
  );
  const values = new Map<string, string[]>();
  const given: Array<Parsed["given"][number]> = [];
  let help = false;
  for (let event = getopt.next(); event !== undefined && !help; event = getopt.next()) {
    if (event.kind === "missing") {
      throw usageError(
        `The option ${event.option} needs an argument.`,
        `missing argument for option '${event.word}'`,
      );
    }
    if (event.kind === "unrecognized") {
      throw usageError(
        unknownOption(command.name, event.option, options, face),
        `unrecognized option '${event.word}'`,
      );
    }
    const { id, value = "" } = event;
    if (id === "help") {
      help = true;
      continue;
    }
    const option = options.find((candidate) => candidate.id === id);
    if (option === undefined) continue;
    option.check?.(value, session);
    if (option.refused === true) throw notSupported(optionName(option, face));
    given.push({ id, value });
    const list = values.get(id);
    if (list === undefined) values.set(id, [value]);
    else list.push(value);
  }
  const operands = lastWord === undefined ? getopt.operands : [...getopt.operands, lastWord];
  return {
    has: (id) => values.has(id),
    value: (id) => values.get(id)?.at(-1),
    values: (id) => values.get(id) ?? [],
    given,
    operands,
    help,
  };
}

function getoptOptions(options: readonly OptionSpec[], face: Face): GetoptOption[] {
  const result: GetoptOption[] = [{ id: "help", short: "h", long: ["help"], takesArgument: false }];
  for (const option of options) {
    result.push({
      id: option.id,
      short: option.short,
      long: longNames(option, face),
      takesArgument: option.argument !== undefined,
    });
  }
  return result;
}

function unknownOption(
  command: string,
  option: string,
  options: readonly OptionSpec[],
  face: Face,
): string {
  const names = options.flatMap((candidate) => longNames(candidate, face));
  const name = option.slice(2);
  if (option.startsWith("--")) {
    const matching = names.filter((candidate) => candidate.startsWith(name));
    if (names.includes(name)) return `The option ${option} of ${command} takes no argument.`;
    if (matching.length > 1) {
      return `The option ${option} could be ${matching.map((match) => `--${match}`).join(" or ")}.`;
    }
    const guess = nearest(name, names);
    if (guess !== undefined) {
      return `${command} has no option ${option}. Did you mean --${guess}?`;
    }
  }
  return `${command} has no option ${option}.`;
}
