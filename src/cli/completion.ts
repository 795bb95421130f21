import { longNames, optionsOf } from "./parse.ts";
import type { CommandSpec, OptionSpec } from "./spec.ts";

/** The shells that completions are made for. */
export const shells = ["bash", "zsh", "fish"] as const;

/** One of {@link shells}. */
export type Shell = (typeof shells)[number];

/**
 * A script that has a shell complete `platter`: commands, their options, and the values of those
 * whose values are known. Made from the command table, so it is as complete as that.
 *
 * @param formats the names of the image formats
 */
export function completionScript(
  shell: Shell,
  commands: readonly CommandSpec[],
  formats: readonly string[],
): string {
  const table = commands.map((command) => ({
    name: command.name,
    summary: command.summary,
    values: command.completes ?? "file",
    options: visible(command).map((option) => describe(option, formats)),
  }));
  return { bash, zsh, fish }[shell](table);
}

/** What a command or option takes: a file, a directory, one of some words, or anything. */
type Values = "file" | "directory" | "any" | readonly string[];

interface Option {
  /** "-f", "--format". */
  readonly short: string | undefined;
  readonly long: readonly string[];
  readonly summary: string;
  /** What the argument is; undefined for a switch. */
  readonly argument: { readonly name: string; readonly values: Values } | undefined;
  readonly repeatable: boolean;
}

interface Command {
  readonly name: string;
  readonly summary: string;
  readonly values: Values;
  readonly options: readonly Option[];
}

const visible = (command: CommandSpec): OptionSpec[] =>
  optionsOf(command, "platter").filter((option) => option.refused !== true);

function describe(option: OptionSpec, formats: readonly string[]): Option {
  const { argument, completes = "any" } = option;
  return {
    short: option.short === undefined ? undefined : `-${option.short}`,
    long: longNames(option, "platter").map((name) => `--${name}`),
    summary: option.summary,
    argument:
      argument === undefined
        ? undefined
        : { name: argument, values: completes === "format" ? formats : completes },
    repeatable: option.repeatable === true,
  };
}

const names = ({ short, long }: Option): string[] => [
  ...(short === undefined ? [] : [short]),
  ...long,
];

const globalOptions = ["--help", "--version"];

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

function bash(commands: readonly Command[]): string {
  const compgen = (values: Values): string => {
    if (values === "file") return `compgen -f -- "$cur"`;
    if (values === "directory") return `compgen -d -- "$cur"`;
    return values === "any" ? ":" : `compgen -W ${quoted(values.join(" "))} -- "$cur"`;
  };
  const cases = commands.map(({ name, values, options }) => {
    const withArgument = options.flatMap((option) =>
      option.argument === undefined
        ? []
        : [`        ${names(option).join("|")}) ${compgen(option.argument.values)}; return ;;`],
    );
    const all = [...options.flatMap(names), "--help"].join(" ");
    return `    ${name})
      case $prev in
${[...withArgument, "        *) ;;"].join("\n")}
      esac
      case $cur in
        -*) compgen -W ${quoted(all)} -- "$cur" ;;
        *) ${compgen(values)} ;;
      esac
      ;;`;
  });
  const words = [...commands.map(({ name }) => name), "help", ...globalOptions].join(" ");
  return `# Completions of platter for bash: source this file, or put it into
# ~/.local/share/bash-completion/completions/platter

_platter_words() {
  local cur=$1 prev=$2 command=$3
  case $command in
    "") compgen -W ${quoted(words)} -- "$cur" ;;
    help) compgen -W ${quoted(commands.map(({ name }) => name).join(" "))} -- "$cur" ;;
${cases.join("\n")}
  esac
}

_platter() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command= line
  # Bash takes --name=value for three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  (( COMP_CWORD > 1 )) && command=\${COMP_WORDS[1]}
  compopt -o filenames 2>/dev/null
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("$line")
  done < <(_platter_words "$cur" "$prev" "$command")
}

complete -F _platter platter
`;
}

function zsh(commands: readonly Command[]): string {
  const action = (values: Values): string => {
    if (values === "file") return "_files";
    if (values === "directory") return "_files -/";
    return values === "any" ? " " : `(${values.join(" ")})`;
  };
  const escaped = (text: string): string => text.replaceAll(/[[\]:\\]/g, (sign) => `\\${sign}`);
  const specs = (option: Option): string[] =>
    names(option).map((name) => {
      const { argument } = option;
      const star = option.repeatable ? "*" : "";
      const glue = argument === undefined ? "" : name.startsWith("--") ? "=" : "+";
      const value = argument && `:${escaped(argument.name)}:${action(argument.values)}`;
      return quoted(`${star}${name}${glue}[${escaped(option.summary)}]${value ?? ""}`);
    });
  const cases = commands.map(({ name, values, options }) => {
    const operands = quoted(
      `*:${values === "directory" ? "directory" : "image"}:${action(values)}`,
    );
    const lines = [...options.flatMap(specs), quoted("--help[show the help of the command]")];
    return `    ${name})
      _arguments -s ${[...lines, operands].join(" \\\n        ")}
      ;;`;
  });
  const described = [
    ...commands.map(({ name, summary }) => quoted(`${name}:${summary}`)),
    quoted("help:show help"),
  ];
  return `#compdef platter
# Completions of platter for zsh: put this file as _platter into a directory of $fpath.

_platter() {
  local -a commands
  commands=(
    ${described.join("\n    ")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
    help) _describe command commands ;;
${cases.join("\n")}
  esac
}

# Sourced, it registers itself; put into $fpath, it is called.
if [[ $funcstack[1] == _platter ]]; then
  _platter "$@"
elif (( $+functions[compdef] )); then
  compdef _platter platter
fi
`;
}

function fish(commands: readonly Command[]): string {
  const values = (of: Values): string => {
    if (of === "file") return " -r -F";
    if (of === "directory") return " -x -a '(__fish_complete_directories)'";
    return of === "any" ? " -x" : ` -x -a ${quoted(of.join(" "))}`;
  };
  const lines = commands.flatMap((command) => {
    const condition = quoted(`__fish_seen_subcommand_from ${command.name}`);
    const operands =
      command.values === "file"
        ? []
        : [`complete -c platter -n ${condition} -f${values(command.values)}`];
    const options = command.options.map((option) => {
      const flags = names(option).map((name) =>
        name.startsWith("--") ? ` -l ${name.slice(2)}` : ` -s ${name.slice(1)}`,
      );
      const argument = option.argument === undefined ? "" : values(option.argument.values);
      return `complete -c platter -n ${condition}${flags.join("")}${argument} -d ${quoted(option.summary)}`;
    });
    return [
      `complete -c platter -n __fish_use_subcommand -f -a ${command.name} -d ${quoted(command.summary)}`,
      ...operands,
      ...options,
    ];
  });
  const help = quoted("__fish_seen_subcommand_from help");
  return `# Completions of platter for fish: put this file into ~/.config/fish/completions/platter.fish

complete -c platter -n __fish_use_subcommand -f -a help -d 'show help'
complete -c platter -n ${help} -f -a ${quoted(commands.map(({ name }) => name).join(" "))}
complete -c platter -n __fish_use_subcommand -s h -l help -d 'show help'
complete -c platter -n __fish_use_subcommand -s V -l version -d 'show the version'
${lines.join("\n")}
`;
}
