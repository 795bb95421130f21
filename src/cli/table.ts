import type { CommandSpec } from "./spec.ts";

/**
 * The one table of commands and their options. Parsing, both faces' help, completions and
 * reference pages come from it. Each command's entry is in a file of its own that is loaded when
 * it is needed, because most runs need one.
 */
const entries: Readonly<Record<string, () => Promise<CommandSpec>>> = {
  check: async () => (await import("./commands/check.ts")).checkCommand,
  compare: async () => (await import("./commands/compare.ts")).compareCommand,
  convert: async () => (await import("./commands/convert.ts")).convertCommand,
  create: async () => (await import("./commands/create.ts")).createCommand,
  info: async () => (await import("./commands/info.ts")).infoCommand,
  map: async () => (await import("./commands/map.ts")).mapCommand,
};

/** The names of all commands, sorted. */
export const commandNames: readonly string[] = Object.keys(entries);

/** The table's entry for a command; undefined if there is no such command. */
export async function findCommand(name: string): Promise<CommandSpec | undefined> {
  return Object.hasOwn(entries, name) ? entries[name]?.() : undefined;
}

/** The whole table. */
export async function allCommands(): Promise<CommandSpec[]> {
  return Promise.all(Object.values(entries).map((load) => load()));
}
