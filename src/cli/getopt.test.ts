import { describe, expect, it } from "vitest";
import { Getopt, type GetoptOption } from "./getopt.ts";

const options: GetoptOption[] = [
  { id: "help", short: "h", long: ["help"], takesArgument: false },
  { id: "format", short: "f", long: ["format"], takesArgument: true },
  { id: "output", long: ["output"], takesArgument: true },
  { id: "object", long: ["object"], takesArgument: true },
  { id: "shared", short: "U", long: ["force-share"], takesArgument: false },
  { id: "chain", long: ["backing-chain", "chain"], takesArgument: false },
  { id: "quiet", short: "q", takesArgument: false },
];

/** Options as "id=value", mistakes as "?word" and ":word", then the operands. */
function read(words: string[], inOrder = false): { events: string[]; operands: string[] } {
  const getopt = new Getopt(["cmd", ...words], options, inOrder);
  const events: string[] = [];
  for (let event = getopt.next(); event !== undefined; event = getopt.next()) {
    if (event.kind === "option") {
      events.push(event.value === undefined ? event.id : `${event.id}=${event.value}`);
    } else events.push(`${event.kind === "missing" ? ":" : "?"}${event.word} ${event.option}`);
  }
  return { events, operands: [...getopt.operands] };
}

describe("Getopt", () => {
  it.each<[string[], string[], string[]]>([
    [[], [], []],
    [["a", "b"], [], ["a", "b"]],
    [["-f", "raw", "a"], ["format=raw"], ["a"]],
    [["-fraw", "a"], ["format=raw"], ["a"]],
    [["-qUfraw", "a"], ["quiet", "shared", "format=raw"], ["a"]],
    [["-qf", "raw"], ["quiet", "format=raw"], []],
    [["-f=raw"], ["format==raw"], []],
    [["-f", "-q"], ["format=-q"], []],
    [["-f", "--", "a"], ["format=--"], ["a"]],
    [["-f", ""], ["format="], []],
    [["--output=json", "a"], ["output=json"], ["a"]],
    [["--output", "json", "a"], ["output=json"], ["a"]],
    [["--out=json"], ["output=json"], []],
    [["--output="], ["output="], []],
    [["--output=a=b"], ["output=a=b"], []],
    [["--back", "a"], ["chain"], ["a"]],
    [["--chain"], ["chain"], []],
    [["--fo", "a"], ["?--fo --fo"], ["a"]],
    [["--for=raw"], ["?--for=raw --for"], []],
    [["--o=json"], ["?--o=json --o"], []],
    [["--="], ["?--= --"], []],
    [["--backing-chain=1"], ["?--backing-chain=1 --backing-chain"], []],
    [["--nothing"], ["?--nothing --nothing"], []],
    [
      ["a", "-q", "b", "-U", "c"],
      ["quiet", "shared"],
      ["a", "b", "c"],
    ],
    [["a", "--", "-q"], [], ["a", "-q"]],
    [["a", "-q", "--", "-U", "b"], ["quiet"], ["a", "-U", "b"]],
    [["-q", "--", "--", "a"], ["quiet"], ["--", "a"]],
    [["-", "-q"], ["quiet"], ["-"]],
    [["-q", "-q"], ["quiet", "quiet"], []],
    [["-f"], [":-f -f"], []],
    [["a", "-Uf"], ["shared", ":-Uf -f"], ["a"]],
    [["a", "--output"], [":--output --output"], ["a"]],
    [["-x"], ["?-x -x"], []],
    [["a", "-Ux"], ["shared", "?-Ux -x"], ["a"]],
    // Within a cluster the word in front of it is named.
    [["-xU", "a"], ["?cmd -x", "shared"], ["a"]],
    [["-q", "-xU"], ["quiet", "?-q -x", "shared"], []],
    [["-é", "a"], ["?cmd -é"], ["a"]],
  ])("%j", (words, events, operands) => {
    expect(read(words)).toEqual({ events, operands });
  });

  it("stops at the first operand when asked to keep the order", () => {
    expect(read(["-q", "a", "-U"], true)).toEqual({ events: ["quiet"], operands: ["a", "-U"] });
    expect(read(["-q", "--", "-U"], true)).toEqual({ events: ["quiet"], operands: ["-U"] });
  });
});
