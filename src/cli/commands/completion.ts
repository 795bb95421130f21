import { completionScript, shells, type Shell } from "../completion.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError, usageError } from "../usage.ts";

/** The table entry of `completion`. */
export const completionCommand: CommandSpec = {
  name: "completion",
  face: "platter",
  summary: "print the completions for a shell",
  description:
    "Prints a script that has bash, zsh or fish complete the commands of platter, their options, and the values that are known. Where to put it stands at its beginning.",
  operands: "bash|zsh|fish",
  completes: shells,
  options: [],
  examples: [
    {
      line: "completion bash > ~/.local/share/bash-completion/completions/platter",
      explanation: "For bash, from the next shell on",
    },
    {
      line: "completion fish > ~/.config/fish/completions/platter.fish",
      explanation: "For fish",
    },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const [shell, ...others] = parsed.operands;
  if (shell === undefined || others.length > 0) {
    throw usageError(`Name one shell: ${shells.join(", ")}.`, "Expecting one shell");
  }
  if (!isShell(shell)) {
    const message = `There are completions for ${shells.join(", ")}, not for "${shell}".`;
    throw argumentError("shell", shell, message, message);
  }
  // The table has this command in it.
  const { allCommands } = await import("../table.ts");
  const { names } = await session.services.formats();
  session.print(completionScript(shell, await allCommands("platter"), names));
  return 0;
}

const isShell = (name: string): name is Shell => (shells as readonly string[]).includes(name);
