/**
 * Makes docs/qemu-img.md from the table of commands: `node tools/qemu-img-page.ts` writes it,
 * `--check` compares and exits 1 where it differs.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { longNames, optionsOf } from "../src/cli/parse.ts";
import type { CommandSpec, OptionSpec } from "../src/cli/spec.ts";
import { allCommands } from "../src/cli/table.ts";
import { QEMU_VERSION } from "../src/cli/version.ts";

/** The commands of qemu-img 7.2. */
export const qemuCommands: readonly string[] =
  "amend bench bitmap check commit compare convert create dd info map measure rebase resize snapshot".split(
    " ",
  );

/** The page, in Markdown. */
export function qemuImgPage(commands: readonly CommandSpec[]): string {
  const known = new Map(commands.map((command) => [command.name, command]));
  const missing = qemuCommands.filter((name) => !known.has(name));
  const own = commands.filter(({ name }) => !qemuCommands.includes(name));
  const sections = qemuCommands.flatMap((name) => {
    const command = known.get(name);
    return command === undefined ? [] : [section(command)];
  });
  const lines = [
    `# Beside qemu-img ${QEMU_VERSION}`,
    "Called by the name `qemu-img`, Platter takes that program's place: its arguments, output, errors and exit codes. This page goes through the commands and their options and says of each whether it does the same, does it better, or differs, and why. Refused options are understood and answered with an error; none is accepted and ignored without being named here.",
    "This page is generated from the command table (`src/cli/commands`) by `npm run docs`. A test compares the table with what `qemu-img --help` lists.",
    ...(missing.length === 0
      ? []
      : [`Commands of qemu-img that are not there yet: ${missing.map(code).join(", ")}.`]),
    "For all commands: `-h`/`--help` shows a help of our own; `-V`/`--version` names both versions; `-T`/`--trace` is refused, because there are no trace events. Standard output and standard error are the same text, but for the help. `-p` and SIGUSR1 show the progress in qemu-img's form; how many steps are printed depends on how the work is cut.",
    ...sections,
    ...(own.length === 0
      ? []
      : [
          "## Commands that qemu-img has not",
          own.map(({ name, summary }) => `- \`${name}\`: ${summary}`).join("\n"),
        ]),
  ];
  return `${lines.join("\n\n")}\n`;
}

function section(command: CommandSpec): string {
  const options = optionsOf(command, "qemu");
  const rows = options.map((option) => [names(option), verdict(option)]);
  const own = optionsOf(command, "platter").filter(({ face }) => face === "platter");
  const notes = options.flatMap((option) => {
    const text = [option.better, option.different].filter((note) => note !== undefined);
    return text.length === 0 ? [] : [`- ${names(option)}: ${text.join(" ")}`];
  });
  return [
    `## ${command.name}`,
    `\`qemu-img ${command.name} [options] ${command.operands}\``,
    table(["option", "beside qemu-img"], rows),
    ...(notes.length === 0 ? [] : [notes.join("\n")]),
    ...(own.length === 0
      ? []
      : [`As \`platter\` besides: ${own.map((option) => names(option)).join(", ")}.`]),
  ].join("\n\n");
}

function verdict({ refused, better, different }: OptionSpec): string {
  if (refused === true) return "refused: not in this version";
  if (different !== undefined) return better === undefined ? "different" : "better and different";
  return better === undefined ? "same" : "better";
}

/** "`-f fmt`, `--format=fmt`". */
function names(option: OptionSpec): string {
  const { short, argument, face } = option;
  const found: string[] = [];
  if (short !== undefined)
    found.push(argument === undefined ? `-${short}` : `-${short} ${argument}`);
  for (const long of longNames(option, face ?? "qemu")) {
    found.push(argument === undefined ? `--${long}` : `--${long}=${argument}`);
  }
  return found.map(code).join(", ");
}

const code = (text: string): string => `\`${text}\``;

/** A table whose columns are as wide as their widest cell. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[], fill: string): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0, fill)).join(" | ")} |`;
  const [first = [], ...rest] = cells;
  const rule = line(
    head.map(() => ""),
    "-",
  );
  return [line(first, " "), rule, ...rest.map((row) => line(row, " "))].join("\n");
}

if (import.meta.main) {
  const path = join(import.meta.dirname, "../docs/qemu-img.md");
  const page = qemuImgPage(await allCommands("qemu"));
  if (!process.argv.includes("--check")) {
    writeFileSync(path, page);
  } else if (readFileSync(path, "utf8") !== page) {
    console.error("docs/qemu-img.md is not what src/cli/commands makes: run npm run docs");
    process.exitCode = 1;
  }
}
