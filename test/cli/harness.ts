import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import type {
  CommandContext,
  Commands,
  FormatOptionDescription,
  FormatServices,
  Services,
} from "../../src/cli/contract.ts";
import type { Environment, Output, SignalName } from "../../src/cli/environment.ts";
import { main } from "../../src/cli/main.ts";
import { services } from "../../src/cli/services.ts";
import { PlatterError } from "../../src/errors.ts";

/** What a program printed and how it ended. */
export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

/** Debian's qemu-img; `PATH` may hold ours under that name. */
const QEMU_IMG = "/usr/bin/qemu-img";

/** Runs the real qemu-img. */
export function peer(words: readonly string[], cwd?: string): Outcome {
  const { stdout, stderr, status } = spawnSync(QEMU_IMG, words, {
    argv0: "qemu-img",
    encoding: "utf8",
    cwd,
    timeout: 60_000,
  });
  return { stdout, stderr, code: status };
}

/** Whether qemu-img 7.2 is here. Under CI a missing one is an error. */
export const hasPeer = ((): boolean => {
  const found =
    existsSync(QEMU_IMG) && peer(["--version"]).stdout.startsWith("qemu-img version 7.2");
  if (!found && process.env["CI"] === "true") throw new Error("qemu-img 7.2 is missing");
  return found;
})();

class Recorder implements Output {
  text = "";
  readonly columns = 100;
  closed = false;
  readonly isTerminal: boolean;
  constructor(isTerminal: boolean) {
    this.isTerminal = isTerminal;
  }
  write(text: string): void {
    if (!this.closed) this.text += text;
  }
  async drained(): Promise<void> {}
}

/** An error that no test expects. */
const unexpected = (): never => {
  throw new Error("this command should not have been called");
};

/** A process made of memory. */
export class FakeEnvironment implements Environment {
  readonly stdout: Recorder;
  readonly stderr: Recorder;
  readonly variables: Record<string, string | undefined>;
  readonly exits: number[] = [];
  readonly #listeners = new Map<SignalName, Set<() => void>>();
  time = 0;

  constructor(terminal = false, variables: Record<string, string | undefined> = {}) {
    this.stdout = new Recorder(terminal);
    this.stderr = new Recorder(terminal);
    this.variables = variables;
  }
  readonly terminal: Environment["terminal"] = unexpected;
  readonly now = (): number => this.time;
  onSignal(name: SignalName, listener: () => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }
  signal(name: SignalName): void {
    for (const listener of this.#listeners.get(name) ?? []) listener();
  }
  listeners(): number {
    return [...this.#listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }
  exit(code: number): void {
    this.exits.push(code);
  }
}

const descriptions: Record<string, FormatOptionDescription[]> = {
  raw: [{ name: "size", type: "size", summary: "Virtual disk size" }],
  qcow2: [
    { name: "backing_file", type: "string", summary: "File name of a base image" },
    { name: "backing_fmt", type: "string", summary: "Image format of the base image" },
    { name: "cluster_size", type: "size", summary: "qcow2 cluster size" },
    { name: "extended_l2", type: "boolean", summary: "Extended L2 tables" },
    { name: "refcount_bits", type: "number", summary: "Width of a reference count entry in bits" },
    { name: "size", type: "size", summary: "Virtual disk size" },
  ],
};

const fakeFormats: FormatServices = {
  names: ["qcow2", "raw"],
  isWritable: (format) => format === "raw" || format === "qcow2",
  describe: (format) => descriptions[format] ?? [],
  describeAmend: (format) => descriptions[format] ?? [],
  parseAmend: (_format, pairs) => Object.fromEntries(pairs),
  parse(format, pairs) {
    const values: Record<string, string | number> = {};
    for (const [name, value] of pairs) {
      const option = descriptions[format]?.find((candidate) => candidate.name === name);
      if (option === undefined) {
        throw new PlatterError("E_INVALID_ARGUMENT", `${format} has no option ${name}.`, {
          qemu: `Invalid parameter '${name}'`,
        });
      }
      values[name] = option.type === "size" ? Number(value) : value;
    }
    return values;
  },
};

const surroundings: Pick<CommandContext, "provider" | "codecs"> = {
  provider: { open: unexpected, create: unexpected, exists: unexpected, resolve: unexpected },
  codecs: { load: unexpected },
};

/** Services whose commands are the given fakes. */
export function fakeServices(commands: Partial<Commands>): Services {
  const all: Commands = {
    amend: unexpected,
    bitmap: unexpected,
    listBitmaps: unexpected,
    bench: unexpected,
    create: unexpected,
    dd: unexpected,
    info: unexpected,
    map: unexpected,
    measure: unexpected,
    rebase: unexpected,
    resize: unexpected,
    snapshot: unexpected,
    commit: unexpected,
    compare: unexpected,
    check: unexpected,
    convert: unexpected,
    audit: unexpected,
    du: unexpected,
    explain: unexpected,
    ...commands,
  };
  return {
    command: async (name) => all[name],
    formats: async () => fakeFormats,
    missing: async () => [],
    secretReader: unexpected,
    laboratory: unexpected,
    guests: unexpected,
    auditPolicy: async () => (await import("../../src/commands/index.ts")).parseAuditPolicy,
    usageWords: () => import("../../src/commands/index.ts"),
    surroundings: async () => surroundings,
  };
}

/** Runs our program under a name, with fake commands. */
export async function run(
  program: "qemu-img" | "platter",
  words: readonly string[],
  commands: Partial<Commands> = {},
  environment = new FakeEnvironment(),
): Promise<Outcome> {
  const argv = ["node", `/somewhere/${program}`, ...words];
  const code = await main(argv, environment, fakeServices(commands));
  return { stdout: environment.stdout.text, stderr: environment.stderr.text, code };
}

/** A command line as one would type it, without its first word; `''` is an empty word. */
export const wordsOf = (line: string): string[] =>
  line.split(" ").map((word) => (word === "''" ? "" : word));

/** Runs our program under a name, in this process, with everything that it really does. */
export async function runOurs(
  words: readonly string[],
  { cwd, program = "qemu-img" }: { readonly cwd?: string; readonly program?: string } = {},
): Promise<Outcome> {
  const environment = new FakeEnvironment();
  const home = process.cwd();
  if (cwd !== undefined) process.chdir(cwd);
  try {
    const code = await main(["node", `/somewhere/${program}`, ...words], environment, services);
    return { stdout: environment.stdout.text, stderr: environment.stderr.text, code };
  } finally {
    process.chdir(home);
  }
}

/** An outcome without what differs from run to run: sizes on the host, dates, and how long something took. */
export const withoutVarying = ({ stdout, stderr, code }: Outcome): Outcome => ({
  stdout: stdout
    .replaceAll(/disk size: .*/g, "disk size: X")
    .replaceAll(/"actual-size": \d+/g, '"actual-size": X')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, "DATE")
    .replaceAll(/"date-(n?sec)": \d+/g, '"date-$1": X')
    .replaceAll(/[\d.]+ seconds/g, "X seconds"),
  stderr,
  code,
});
