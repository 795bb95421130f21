import { escapeControls, PlatterError } from "../errors.ts";
import type { Services } from "./contract.ts";
import type { Environment } from "./environment.ts";
import { Getopt } from "./getopt.ts";
import { parseCommandLine, readTimeout } from "./parse.ts";
import { incomplete, reportError } from "./report.ts";
import { createSession, type Session } from "./session.ts";
import type { CommandSpec, Face } from "./spec.ts";
import { painterFor } from "./style.ts";
import { nearest } from "./suggest.ts";
import { allCommands, commandNames, findCommand } from "./table.ts";
import { notSupported, usageError } from "./usage.ts";

/** Exit codes of processes that were ended by a signal. */
const SIGNAL_EXITS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Runs the program. `argv` is as in `process.argv`: the second word is the name it was called by,
 * which decides between its two faces. Returns the exit code; never throws.
 */
export async function main(
  argv: readonly string[],
  environment: Environment,
  services: Services,
): Promise<number> {
  const face = faceOf(argv[1] ?? "");
  const controller = new AbortController();
  const signals = listenForSignals(environment, controller);
  const session = createSession(face, environment, services, controller.signal);
  let help: string | undefined = "Try `platter --help`.";
  try {
    const request = readGlobalOptions(face, argv.slice(2));
    if (request.kind !== "command") return await answer(request, session);
    const command = await findCommand(request.name, face);
    if (command === undefined) throw unknownCommand(request.name);
    help = `Try \`platter ${command.name} --help\`.`;
    // Also errors in the command line itself are for the program that wants JSON.
    session.jsonErrors = face === "platter" && request.words.includes("--json");
    const parsed = parseCommandLine(command, request.words, session);
    if (parsed.help) return await answer({ kind: "help", command: request.name }, session);
    session.untrusted = parsed.has("untrusted");
    const timeout = parsed.value("timeout");
    session.timeout = timeout === undefined ? undefined : readTimeout(timeout);
    return await command.run(parsed, session);
  } catch (error) {
    const signalled = signals.exitCode();
    if (signalled !== undefined) {
      if (face === "platter") {
        environment.stderr.write(`platter: interrupted.${escapeControls(incomplete(error))}\n`);
      }
      return signalled;
    }
    const isUsage = error instanceof PlatterError && isAboutUsage(error);
    reportError(error, environment, {
      face,
      json: session.jsonErrors,
      help: isUsage ? help : undefined,
    });
    return session.exitCodeOnError;
  } finally {
    signals.stop();
  }
}

/** The face for the name that the program was called by. */
export function faceOf(path: string): Face {
  const name = path.split(/[\\/]/).at(-1) ?? "";
  return /^qemu-img(\.(exe|js|cmd))?$/.test(name) ? "qemu" : "platter";
}

/** What the words up to the command ask for. */
type Request =
  | { readonly kind: "command"; readonly name: string; readonly words: readonly string[] }
  | { readonly kind: "help"; readonly command?: string | undefined; readonly exitCode?: number }
  | { readonly kind: "version" };

function readGlobalOptions(face: Face, words: readonly string[]): Request {
  const getopt = new Getopt(
    ["qemu-img", ...words],
    [
      { id: "help", short: "h", long: ["help"], takesArgument: false },
      { id: "version", short: "V", long: ["version"], takesArgument: false },
      ...(face === "qemu"
        ? [{ id: "trace", short: "T", long: ["trace"], takesArgument: true }]
        : []),
    ],
    true,
  );
  for (let event = getopt.next(); event !== undefined; event = getopt.next()) {
    if (event.kind === "missing") {
      throw usageError(
        `The option ${event.option} needs an argument.`,
        `missing argument for option '${event.word}'`,
      );
    }
    if (event.kind === "unrecognized") {
      throw usageError(
        `There is no option ${event.option} in front of the command.`,
        `unrecognized option '${event.word}'`,
      );
    }
    if (event.id === "trace") throw notSupported("-T (--trace)");
    return event.id === "help" ? { kind: "help" } : { kind: "version" };
  }
  const [name] = getopt.operands;
  if (name === undefined) {
    if (face === "platter") return { kind: "help", exitCode: 1 };
    throw usageError("Name a command.", "Not enough arguments");
  }
  if (face === "platter" && name === "help") {
    return { kind: "help", command: getopt.operands[1] };
  }
  return { kind: "command", name, words: getopt.operands };
}

/** Prints help or the version. */
async function answer(
  request: Exclude<Request, { kind: "command" }>,
  session: Session,
): Promise<number> {
  const { face, paint } = session;
  const { commandHelp, platterHelp, qemuHelp, versionLine } = await import("./help.ts");
  if (request.kind === "version") {
    session.print(`${versionLine(face)}\n`);
    if (face === "platter") {
      for (const missing of await session.services.missing()) session.print(`${missing}\n`);
    }
    return 0;
  }
  if (face === "platter" && request.command !== undefined) {
    const command = await findCommand(request.command, face);
    if (command === undefined) throw unknownCommand(request.command);
    session.print(commandHelp(command, paint));
    return 0;
  }
  const commands: CommandSpec[] = await allCommands(face);
  const { names } = await session.services.formats();
  if (face === "qemu") session.print(qemuHelp(commands, names));
  else if (request.exitCode === undefined) session.print(platterHelp(commands, names, paint));
  else {
    const painter = painterFor(session.environment, "stderr");
    session.environment.stderr.write(platterHelp(commands, names, painter));
  }
  return request.exitCode ?? 0;
}

function unknownCommand(name: string): PlatterError {
  const guess = nearest(name, commandNames);
  const suggestion = guess === undefined ? "" : ` Did you mean ${guess}?`;
  return usageError(`There is no command "${name}".${suggestion}`, `Command not found: ${name}`);
}

/** Errors that help on the command line may help with. */
function isAboutUsage(error: PlatterError): boolean {
  return error.code === "E_INVALID_ARGUMENT" || error.code === "E_INVALID_SIZE";
}

/** The first signal cancels the command, the second ends the process. */
function listenForSignals(
  environment: Environment,
  controller: AbortController,
): { exitCode(): number | undefined; stop(): void } {
  let exitCode: number | undefined;
  const listen = (name: keyof typeof SIGNAL_EXITS): (() => void) =>
    environment.onSignal(name, () => {
      if (exitCode !== undefined) environment.exit(exitCode);
      exitCode = SIGNAL_EXITS[name];
      controller.abort(name);
    });
  const stops = [
    listen("SIGHUP"),
    listen("SIGINT"),
    listen("SIGTERM"),
    // Without a listener Node would open its debugger.
    environment.onSignal("SIGUSR1", () => {}),
  ];
  return {
    exitCode: () => exitCode,
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}
