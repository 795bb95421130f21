/**
 * Makes a page for each command in docs/commands/ from the command table:
 * `node tools/reference-pages.ts` writes them, `--check` compares and exits 1 where they differ.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { longNames, optionsOf } from "../src/cli/parse.ts";
import type { CommandSpec, OptionSpec } from "../src/cli/spec.ts";
import { allCommands } from "../src/cli/table.ts";

/** The pages by file name, in Markdown. */
export function referencePages(commands: readonly CommandSpec[]): Map<string, string> {
  const pages = new Map<string, string>([["README.md", index(commands)]]);
  for (const command of commands) pages.set(`${command.name}.md`, page(command));
  return pages;
}

const note = "This page is generated from the command table by `npm run docs`.";

function index(commands: readonly CommandSpec[]): string {
  const rows = commands.map(
    ({ name, summary, face }) =>
      `| [\`${name}\`](${name}.md) | ${cell(summary)} | ${face === "platter" ? "no" : "yes"} |`,
  );
  return `# Commands

\`platter COMMAND --help\` prints the same. Called by the name \`qemu-img\`, the program takes the
arguments of \`qemu-img\` and prints what that prints; the last column says which commands it has then.

| command | | in qemu-img's face |
| --- | --- | --- |
${rows.join("\n")}

${note}
`;
}

function page(command: CommandSpec): string {
  const options = optionsOf(command, "platter").filter((option) => option.refused !== true);
  const rows = options.map(
    (option) => `| ${names(option)} | ${cell(option.group)} | ${cell(option.summary)} |`,
  );
  const table =
    rows.length === 0
      ? "It has no options of its own.\n"
      : `| option | about | |\n| --- | --- | --- |\n${rows.join("\n")}\n`;
  const examples = command.examples.map(
    ({ line, explanation }) => `# ${explanation}\nplatter ${line}\n`,
  );
  const codes = [
    ["0", "all is well"],
    ...(command.exitCodes ?? []).map(([code, text]) => [code, text]),
  ];
  if (!codes.some(([code]) => String(code) === "1"))
    codes.splice(1, 0, ["1", "something went wrong"]);
  return `# platter ${command.name}

${sentence(command.summary)}

\`\`\`sh
platter ${command.name} [options] ${command.operands}
\`\`\`

${command.description}

## Options

${table}
## Examples

\`\`\`sh
${examples.join("\n")}\`\`\`

## Exit codes

| code | meaning |
| --- | --- |
${codes.map(([code, meaning]) => `| ${code} | ${cell(String(meaning))} |`).join("\n")}

${note}
`;
}

function names(option: OptionSpec): string {
  const { short, argument } = option;
  const all = longNames(option, "platter").map((name) =>
    argument === undefined ? `--${name}` : `--${name}=${argument}`,
  );
  if (short !== undefined)
    all.unshift(argument === undefined ? `-${short}` : `-${short} ${argument}`);
  return all.map((name) => `\`${cell(name)}\``).join(", ");
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

if (import.meta.main) {
  const directory = join(import.meta.dirname, "../docs/commands");
  const pages = referencePages(await allCommands("platter"));
  if (process.argv.includes("--check")) {
    const read = (name: string): string => readFileSync(join(directory, name), "utf8");
    const present = readdirSync(directory).toSorted();
    const expected = [...pages.keys()].toSorted();
    const isSame =
      present.join() === expected.join() && [...pages].every(([name, text]) => read(name) === text);
    if (!isSame) {
      console.error("docs/commands is not what the command table makes: run npm run docs");
      process.exitCode = 1;
    }
  } else {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
    for (const [name, text] of pages) writeFileSync(join(directory, name), text);
  }
}
