import type { Environment } from "./environment.ts";

/** How a piece of text is meant. */
export type Tone =
  | "heading"
  | "good"
  | "bad"
  | "warning"
  | "faint"
  | "name"
  // Colours of pictures.
  | "blue"
  | "green"
  | "cyan"
  | "yellow"
  | "magenta"
  | "red"
  | "gray";

/** Colours a text, or leaves it as it is. */
export type Painter = (tone: Tone, text: string) => string;

const LOOKS = {
  heading: "bold",
  good: "green",
  bad: "red",
  warning: "yellow",
  faint: "dim",
  name: "cyan",
  blue: "blue",
  green: "green",
  cyan: "cyan",
  yellow: "yellow",
  magenta: "magenta",
  red: "red",
  gray: "gray",
} as const;

/** A painter for one of the outputs: plain unless it is a terminal that wants colours. */
export function painterFor(environment: Environment, output: "stdout" | "stderr"): Painter {
  const { NO_COLOR, TERM } = environment.variables;
  const wanted =
    environment[output].isTerminal &&
    (NO_COLOR === undefined || NO_COLOR === "") &&
    TERM !== "dumb";
  if (!wanted) return (_tone, text) => text;
  // Loaded here, because most runs of the program are without colours.
  const { styleText } = process.getBuiltinModule("node:util");
  // Whether the stream takes colours is decided here, for this environment's own stream.
  return (tone, text) => styleText(LOOKS[tone], text, { validateStream: false });
}
