import type { CommandSpec, Face } from "./spec.ts";

/**
 * The one table of commands and their options. Parsing, both faces' help, completions and
 * reference pages come from it. Each command's entry is in a file of its own that is loaded when
 * it is needed, because most runs need one.
 */
const entries: Readonly<Record<string, () => Promise<CommandSpec>>> = {
  amend: async () => (await import("./commands/amend.ts")).amendCommand,
  audit: async () => (await import("./commands/audit.ts")).auditCommand,
  bench: async () => (await import("./commands/bench.ts")).benchCommand,
  bitmap: async () => (await import("./commands/bitmap.ts")).bitmapCommand,
  check: async () => (await import("./commands/check.ts")).checkCommand,
  commit: async () => (await import("./commands/commit.ts")).commitCommand,
  compare: async () => (await import("./commands/compare.ts")).compareCommand,
  completion: async () => (await import("./commands/completion.ts")).completionCommand,
  convert: async () => (await import("./commands/convert.ts")).convertCommand,
  create: async () => (await import("./commands/create.ts")).createCommand,
  du: async () => (await import("./commands/du.ts")).duCommand,
  explain: async () => (await import("./commands/explain.ts")).explainCommand,
  dd: async () => (await import("./commands/dd.ts")).ddCommand,
  info: async () => (await import("./commands/info.ts")).infoCommand,
  install: async () => (await import("./commands/install.ts")).installCommand,
  lab: async () => (await import("./commands/lab.ts")).labCommand,
  map: async () => (await import("./commands/map.ts")).mapCommand,
  measure: async () => (await import("./commands/measure.ts")).measureCommand,
  rebase: async () => (await import("./commands/rebase.ts")).rebaseCommand,
  resize: async () => (await import("./commands/resize.ts")).resizeCommand,
  snapshot: async () => (await import("./commands/snapshot.ts")).snapshotCommand,
  vm: async () => (await import("./commands/vm.ts")).vmCommand,
};

/** The names of all commands, sorted. */
export const commandNames: readonly string[] = Object.keys(entries);

/** The table's entry for a command; undefined if that face has no such command. */
export async function findCommand(name: string, face: Face): Promise<CommandSpec | undefined> {
  const command = Object.hasOwn(entries, name) ? await entries[name]?.() : undefined;
  return command !== undefined && isIn(command, face) ? command : undefined;
}

/** The whole table, as that face has it. */
export async function allCommands(face: Face): Promise<CommandSpec[]> {
  const commands = await Promise.all(Object.values(entries).map((load) => load()));
  return commands.filter((command) => isIn(command, face));
}

const isIn = (command: CommandSpec, face: Face): boolean =>
  command.face === undefined || command.face === face;
