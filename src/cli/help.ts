import { alignColumns, wrap } from "./layout.ts";
import { longNames, optionsOf } from "./parse.ts";
import type { CommandSpec, Face, OptionGroup, OptionSpec } from "./spec.ts";
import type { Painter } from "./style.ts";
import { QEMU_VERSION, VERSION } from "./version.ts";

/** The line that `--version` prints, without a newline. */
export function versionLine(face: Face): string {
  return face === "qemu"
    ? `qemu-img version ${QEMU_VERSION} (platter-img ${VERSION})`
    : `platter ${VERSION}`;
}

/** `--help` of the qemu-img face, whatever the command. */
export function qemuHelp(commands: readonly CommandSpec[], formats: readonly string[]): string {
  const syntax = commands.map((command) => `  ${command.name} ${synopsis(command, "qemu")}\n`);
  return `${versionLine("qemu")}
usage: qemu-img [standard options] command [command options]
Disk images for virtual machines, without QEMU

    '-h', '--help'       show this help and end
    '-V', '--version'    show the version and end

Command syntax:
${syntax.join("")}
Commands:
${alignColumns(
  commands.map((command) => [command.name, command.summary]),
  { indent: 2 },
)}
Command options:
${alignColumns(qemuOptionRows(commands), { indent: 2 })}
Sizes are bytes, or have one of the suffixes k, M, G, T, P, E: powers of 1024.

Supported formats: ${formats.join(" ")}
`;
}

/** Every option once, with the commands that have it. */
function qemuOptionRows(commands: readonly CommandSpec[]): string[][] {
  const rows = new Map<string, { names: string; users: string[]; summary: string }>();
  for (const command of commands) {
    for (const option of visibleOptions(command, "qemu")) {
      const names = optionNames(option, "qemu");
      const key = `${names} ${option.summary}`;
      const row = rows.get(key) ?? { names, users: [], summary: option.summary };
      row.users.push(command.name);
      rows.set(key, row);
    }
  }
  return [...rows.values()].map(({ names, users, summary }) => [
    names,
    `${users.join(", ")}: ${summary}`,
  ]);
}

/** `platter --help`. */
export function platterHelp(
  commands: readonly CommandSpec[],
  formats: readonly string[],
  paint: Painter,
): string {
  return `${paint("heading", "platter")} ${VERSION}: disk images for virtual machines

${paint("heading", "Usage")}
  platter <command> [options] [operands]
  platter <command> --help

${paint("heading", "Commands")}
${alignColumns(
  commands.map((command) => [paint("name", command.name), command.summary]),
  { indent: 2 },
)}
${paint("heading", "Options")}
${alignColumns(
  [
    ["-h, --help", "show this help, or a command's"],
    ["-V, --version", "show the version"],
  ],
  { indent: 2 },
)}
${paint("heading", "Formats")}
  ${formats.join(" ")}

Called by the name qemu-img (a symbolic link will do), it takes that program's place.
`;
}

const GROUPS: readonly OptionGroup[] = [
  "Images",
  "Result",
  "Behaviour",
  "Output",
  "For qemu-img's sake",
];

/** `platter COMMAND --help`. */
export function commandHelp(command: CommandSpec, paint: Painter): string {
  const options = visibleOptions(command, "platter");
  let text = `${paint("heading", `platter ${command.name}`)}: ${command.summary}\n\n`;
  text += `${paint("heading", "Usage")}\n  platter ${command.name} [options] ${command.operands}\n\n`;
  text += `${wrap(command.description, 80)}\n`;
  for (const group of GROUPS) {
    const members = options.filter((option) => option.group === group);
    if (members.length === 0) continue;
    text += `${paint("heading", group)}\n`;
    for (const option of members) {
      text += `  ${paint("name", optionNames(option, "platter"))}\n${wrap(option.summary, 80, 6)}`;
    }
    text += "\n";
  }
  text += `${paint("heading", "Examples")}\n`;
  for (const { line, explanation } of command.examples) {
    text += `  ${paint("faint", `# ${explanation}`)}\n  platter ${line}\n`;
  }
  if (command.exitCodes !== undefined) {
    const rows = command.exitCodes.map(([code, meaning]) => [String(code), meaning]);
    text += `\n${paint("heading", "Exit codes")}\n`;
    text += alignColumns([["0", "all is well"], ...withGeneralCode(rows)], { indent: 2 });
  }
  return text;
}

function withGeneralCode(rows: string[][]): string[][] {
  return rows.some(([code]) => code === "1") ? rows : [["1", "something went wrong"], ...rows];
}

/** "[-f fmt] [-U] filename". */
function synopsis(command: CommandSpec, face: Face): string {
  const options = visibleOptions(command, face).map((option) => {
    const [long] = longNames(option, face);
    const { short, argument } = option;
    if (short !== undefined) return `[-${short}${argument === undefined ? "" : ` ${argument}`}]`;
    return `[--${long ?? ""}${argument === undefined ? "" : `=${argument}`}]`;
  });
  return [...options, command.operands].join(" ");
}

/** "-f fmt, --format=fmt". */
function optionNames(option: OptionSpec, face: Face): string {
  const { short, argument } = option;
  const names: string[] = [];
  if (short !== undefined) names.push(`-${short}${argument === undefined ? "" : ` ${argument}`}`);
  for (const long of longNames(option, face)) {
    names.push(`--${long}${argument === undefined ? "" : `=${argument}`}`);
  }
  return names.join(", ");
}

function visibleOptions(command: CommandSpec, face: Face): OptionSpec[] {
  return optionsOf(command, face).filter((option) => option.refused !== true);
}
