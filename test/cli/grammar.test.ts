/** The grammar that `qemu-img --help` prints, beside our table of commands. */
import { describe, expect, it } from "vitest";
import { longNames, optionsOf } from "../../src/cli/parse.ts";
import { allCommands } from "../../src/cli/table.ts";
import { hasPeer, peer } from "./harness.ts";

/**
 * What qemu-img has and we have not, or refuse. Whoever adds a command or an option takes it out of
 * here; the list shall become empty.
 */
const missing: Readonly<Record<string, readonly string[]>> = {};

/** An option as the help writes it, and whether an argument follows. */
interface Mention {
  readonly name: string;
  readonly takesArgument: boolean;
}

/** The options in "[-f fmt] [--output=ofmt] [-r [leaks | all]] filename". */
function mentions(syntax: string): Mention[] {
  const found = syntax.matchAll(/(--?[A-Za-z][\w-]*)(?:=\w|\s+([[A-Za-z]))?/g);
  return [...found].map(([text, name = ""]) => ({ name, takesArgument: text !== name }));
}

function theirs(): Map<string, Mention[]> {
  const { stdout } = peer(["--help"]);
  const [, syntax = ""] = /Command syntax:\n(.*?)\n\n/s.exec(stdout) ?? [];
  return new Map(
    syntax.split("\n").map((line) => {
      const [, name = "", rest = ""] = /^ {2}(\w+) (.*)$/.exec(line) ?? [];
      return [name, mentions(rest)];
    }),
  );
}

describe.skipIf(!hasPeer)("the grammar of qemu-img --help", () => {
  it("has fifteen commands", () => {
    expect([...theirs().keys()]).toHaveLength(15);
  });

  it("is that of our table, but for what is listed as missing", async () => {
    const ours = new Map((await allCommands("qemu")).map((command) => [command.name, command]));
    const lacks: Record<string, string[]> = {};
    for (const [name, options] of theirs()) {
      const command = ours.get(name);
      if (command === undefined) {
        lacks[name] = ["the command"];
        continue;
      }
      const known = optionsOf(command, "qemu").filter(({ refused }) => refused !== true);
      const lacking = options.filter(
        (option) =>
          !known.some(
            (candidate) =>
              (candidate.argument !== undefined) === option.takesArgument &&
              [
                `-${candidate.short}`,
                ...longNames(candidate, "qemu").map((long) => `--${long}`),
              ].includes(option.name),
          ),
      );
      if (lacking.length > 0) lacks[name] = lacking.map((option) => option.name).toSorted();
    }
    expect(lacks).toEqual(missing);
  });

  it("includes dd's operands", async () => {
    const command = (await allCommands("qemu")).find(({ name }) => name === "dd");
    const { stdout } = peer(["--help"]);
    const [, operands = ""] = /^ {2}dd (.*)$/m.exec(stdout) ?? [];
    for (const [name = ""] of operands.matchAll(/\b[a-z]+=/g)) {
      expect(command?.operands).toContain(name);
    }
  });
});
