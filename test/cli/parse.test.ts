import { describe, expect, it } from "vitest";
import { formatOption, quietOption } from "../../src/cli/options.ts";
import { type Parsed, parseCommandLine } from "../../src/cli/parse.ts";
import { createSession } from "../../src/cli/session.ts";
import type { CommandSpec, Face } from "../../src/cli/spec.ts";
import { PlatterError } from "../../src/errors.ts";
import { FakeEnvironment, fakeServices } from "./harness.ts";

/** A command whose last word may look like an option, as qemu-img's resize. */
const resize: CommandSpec = {
  name: "resize",
  summary: "",
  description: "",
  operands: "filename [+ | -]size",
  options: [
    formatOption,
    quietOption,
    { id: "shrink", long: "shrink", summary: "", group: "Behaviour" },
    {
      id: "tag",
      friendly: "tag",
      argument: "name",
      summary: "",
      group: "Behaviour",
      repeatable: true,
      face: "platter",
      check: (value) => {
        if (value === "bad") throw new PlatterError("E_INVALID_ARGUMENT", "a bad tag");
      },
    },
  ],
  examples: [],
  lastWordIsOperand: true,
  run: async () => 0,
};

function parse(line: string, face: Face = "qemu", command = resize): Parsed {
  const signal = new AbortController().signal;
  const session = createSession(face, new FakeEnvironment(), fakeServices({}), signal);
  return parseCommandLine(command, line.split(" "), session);
}

describe("parseCommandLine", () => {
  it("takes a last word that looks like an option for a size", () => {
    const parsed = parse("resize -qf raw img --shrink -1M");
    expect(parsed.operands).toEqual(["img", "-1M"]);
    expect(parsed.value("format")).toBe("raw");
    expect(parsed.has("shrink")).toBe(true);
    expect(parse("resize img +1M").operands).toEqual(["img", "+1M"]);
    expect(parse("resize -- -img -1M").operands).toEqual(["-img", "-1M"]);
    expect(parse("resize").operands).toEqual([]);
  });

  it("does so only where the command says so", () => {
    const { lastWordIsOperand: _, ...other } = resize;
    expect(() => parse("resize img -1M", "qemu", other)).toThrow("no option -1");
  });

  it("keeps the last value, and all of them", () => {
    const parsed = parse("resize --tag=a -f raw --tag b -f qcow2 img 1M", "platter");
    expect(parsed.value("format")).toBe("qcow2");
    expect(parsed.values("tag")).toEqual(["a", "b"]);
    expect(parsed.values("quiet")).toEqual([]);
    expect(parsed.value("quiet")).toBeUndefined();
  });

  it("checks values in the order in which they stand", () => {
    expect(() => parse("resize --tag=bad --foo img 1M", "platter")).toThrow("a bad tag");
    expect(() => parse("resize --foo --tag=bad img 1M", "platter")).toThrow("no option --foo");
    expect(parse("resize --help --tag=bad img 1M", "platter").help).toBe(true);
  });

  it("knows each face's options", () => {
    expect(() => parse("resize --tag=a img 1M")).toThrow("no option --tag");
    expect(() => parse("resize --quiet img 1M")).toThrow("no option --quiet");
    expect(parse("resize --quiet img 1M", "platter").has("quiet")).toBe(true);
    expect(() => parse("resize --shrink=1 img 1M")).toThrow("takes no argument");
  });
});
