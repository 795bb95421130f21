import { escapeControls, PlatterError } from "../errors.ts";
import type { Environment } from "./environment.ts";
import { escapeQemu } from "./escape.ts";
import { jsonLine } from "./json.ts";
import type { Face } from "./spec.ts";
import { painterFor } from "./style.ts";

/** How errors are reported. */
export interface ReportOptions {
  readonly face: Face;
  /** As one JSON object on a line. */
  readonly json: boolean;
  /** A command line to get help with, for errors in the command line. */
  readonly help?: string | undefined;
}

/** Tells the user about an error, on stderr. A stack is printed only if PLATTER_DEBUG asks. */
export function reportError(
  error: unknown,
  environment: Environment,
  { face, json, help }: ReportOptions,
): void {
  const { stderr, variables } = environment;
  const known = error instanceof PlatterError ? error : undefined;
  if (json) stderr.write(`${jsonLine({ error: describe(error) })}\n`);
  else if (face === "qemu") {
    const text = `qemu-img: ${known === undefined ? bugText(error) : (known.details.qemu ?? known.message)}`;
    stderr.write(endLine(stderr.isTerminal ? escapeQemu(text) : text));
  } else {
    const paint = painterFor(environment, "stderr");
    const text = known === undefined ? bugText(error) : known.message + incomplete(known);
    stderr.write(`${paint("bad", "platter:")} ${escapeControls(text)}\n`);
    if (help !== undefined) stderr.write(`${paint("faint", help)}\n`);
  }
  const { PLATTER_DEBUG: debug } = variables;
  if (debug !== undefined && debug !== "" && debug !== "0" && error instanceof Error) {
    stderr.write(`${error.stack ?? ""}\n`);
  }
}

/** What to know about a file that has been written in part; empty where there is none. */
export function incomplete(error: unknown): string {
  const file = error instanceof PlatterError ? error.details.incomplete : undefined;
  return file === undefined ? "" : ` ${file} may have been written in part.`;
}

/** `text` as a line, but for two hints of QEMU's that are not ended by a newline there. */
export function endLine(text: string): string {
  const open = /\n(Detected format of \S+|.* 'qemu-img check -r' on the image file to fix)\.$/;
  return open.test(text) || text.endsWith("\n") ? text : `${text}\n`;
}

function bugText(error: unknown): string {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `This is a bug in Platter, please report it (PLATTER_DEBUG=1 shows where it is): ${what}`;
}

function describe(error: unknown): Record<string, string | number | undefined> {
  if (!(error instanceof PlatterError)) return { code: "E_BUG", message: bugText(error) };
  const { file, field, offset, value, incomplete: partial } = error.details;
  return {
    code: error.code,
    message: error.message,
    file,
    field,
    offset,
    value: typeof value === "bigint" ? String(value) : value,
    ...(partial !== undefined && { incomplete: partial }),
  };
}
