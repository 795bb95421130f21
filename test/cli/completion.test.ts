/** The completions, in the shells that they are for. */
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { completionScript, shells } from "../../src/cli/completion.ts";
import { allCommands } from "../../src/cli/table.ts";
import { describePeer } from "../peers.ts";
import { run } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-completion-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const commands = await allCommands("platter");
for (const shell of shells) {
  writeFileSync(join(directory, shell), completionScript(shell, commands, ["qcow2", "raw"]));
}
mkdirSync(join(directory, "images"));
writeFileSync(join(directory, "image one.img"), "");

/** Words typed so far, the last of which is being completed, and what may come of it. */
const cases: ReadonlyArray<readonly [typed: string, ...found: string[]]> = [
  ["con", "convert"],
  ["cre", "create"],
  ["--ver", "--version"],
  ["help comp", "compare", "completion"],
  ["info --outp", "--output"],
  ["info --output j", "json"],
  ["info --output=j", "json"],
  ["info -f q", "qcow2"],
  ["convert --progress b", "bar"],
  ["completion ", "bash", "fish", "zsh"],
  ["lab --tree im", "images"],
  ["info im", "image one.img", "images"],
];

describePeer("bash", "completions", (bash) => {
  it.each(cases)("of %j", async (typed, ...found) => {
    // Bash takes = for a word of its own.
    const words = ["platter", ...typed.split(" ").flatMap((word) => word.split(/(?<==)|(?==)/))];
    const script = `source ./bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _platter; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await bash.run(["--norc", "-c", script, "-", ...words], { cwd: directory });
    expect(stdout.trim().split("\n").toSorted()).toEqual(found.toSorted());
  });
});

describePeer("fish", "completions", (fish) => {
  it.each(cases)("of %j", async (typed, ...found) => {
    const script = `source ./fish; complete -C ${JSON.stringify(`platter ${typed}`)}`;
    const { stdout } = await fish.run(["-N", "-c", script], { cwd: directory });
    const offered = stdout.trim().split("\n");
    const words = offered.map((line) =>
      line
        .split("\t")[0]!
        .replace(/\/$/, "")
        .replace(/^--.*=/, ""),
    );
    expect(words.toSorted()).toEqual(expect.arrayContaining(found.toSorted()));
    if (!typed.includes("im")) expect(words).toHaveLength(found.length);
  });
});

describePeer("zsh", "completions", (zsh) => {
  /** What the script hands to the functions of zsh that do the completing. */
  const handed = async (...words: string[]): Promise<string> => {
    const script = `
      compdef() { : }
      source ./zsh
      _arguments() { print -rl -- "$@" }
      _describe() { print -rl -- \${(P)2} }
      words=(${words.map((word) => JSON.stringify(word)).join(" ")}); CURRENT=${words.length}
      _platter`;
    return (await zsh.run(["-f", "-c", script], { cwd: directory })).stdout;
  };

  it("has every command and option", async () => {
    const described = await handed("platter", "");
    for (const { name, summary } of commands) expect(described).toContain(`${name}:${summary}`);
    for (const { name, options } of commands) {
      const specs = await handed("platter", name, "-");
      for (const { short, long, friendly, face, refused } of options) {
        if (refused === true || face === "qemu") continue;
        if (short !== undefined) expect(specs).toMatch(new RegExp(`^\\*?-${short}[+[]`, "m"));
        for (const option of [long, friendly]) {
          if (option !== undefined) expect(specs).toMatch(new RegExp(`^\\*?--${option}[=[]`, "m"));
        }
      }
    }
    expect(await handed("platter", "info", "-f")).toContain(":fmt:(qcow2 raw)");
    expect(await handed("platter", "lab", "")).toContain("*:directory:_files -/");
  });

  it("is understood by its own completion system", async () => {
    const script = `autoload -Uz compinit; compinit -u -d ./dump; source ./zsh; print $_comps[platter]`;
    const { stdout } = await zsh.run(["-f", "-c", script], { cwd: directory });
    expect(stdout.trim()).toBe("_platter");
  });
});

describe("the command", () => {
  it("prints the script, and refuses other shells", async () => {
    const { stdout, code } = await run("platter", ["completion", "bash"]);
    expect(code).toBe(0);
    expect(stdout).toContain("complete -F _platter platter");
    const wrong = await run("platter", ["completion", "tcsh"]);
    expect(wrong.stderr).toContain('There are completions for bash, zsh, fish, not for "tcsh".');
    expect(wrong.code).toBe(1);
  });
});
