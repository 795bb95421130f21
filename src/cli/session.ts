import { escapeControls } from "../errors.ts";
import type { CommandContext, Progress, Services } from "./contract.ts";
import type { Environment } from "./environment.ts";
import { escapeQemu } from "./escape.ts";
import type { UserObject } from "./objects.ts";
import { secretsOf } from "./secrets.ts";
import { endLine } from "./report.ts";
import type { Parsed } from "./parse.ts";
import {
  barProgress,
  jsonProgress,
  PATIENCE,
  type ProgressDisplay,
  qemuProgress,
} from "./progress.ts";
import type { Face } from "./spec.ts";
import { type Painter, painterFor } from "./style.ts";

/** One run of one command: its surroundings, and the ways to talk to the user. */
export interface Session {
  readonly face: Face;
  /** The name in front of messages. */
  readonly program: string;
  readonly environment: Environment;
  readonly services: Services;
  /** Aborted by SIGHUP, SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** What an error from here on ends the program with. */
  exitCodeOnError: number;
  /** `--untrusted`: nothing that an image names is opened. */
  untrusted: boolean;
  /** `--timeout`: milliseconds for each request of a file. */
  timeout: number | undefined;
  /** Errors are reported as JSON. */
  jsonErrors: boolean;
  /** What the values of `--object` describe, in order. */
  readonly objects: UserObject[];
  /** Writes to stdout. */
  readonly print: (text: string) => void;
  /** Writes a line to stderr as it is. */
  readonly note: (line: string) => void;
  /** Says something that is not an error, on stderr. */
  readonly warn: (message: string) => void;
  /** A name from an image or the user, fit for the output it goes to. */
  readonly safe: (name: string) => string;
  readonly paint: Painter;
  /** What command functions take as their second argument. */
  context(onProgress?: (progress: Progress) => void): Promise<CommandContext>;
  /**
   * Runs `work` with progress shown as the options `-p`, `-q`, `--progress` and `--json` ask.
   * `work` says itself when the display has finished: what it prints after that stands below.
   */
  withProgress<Result>(
    parsed: Parsed,
    look: ProgressLook,
    work: (display: ProgressDisplay) => Promise<Result>,
  ): Promise<Result>;
}

/** How qemu-img shows the progress of a particular command. */
export interface ProgressLook {
  /** Percentage points between two prints. */
  readonly step: number;
  /** Whether the start is printed before anything is opened, and the end twice. */
  readonly eager: boolean;
  /** Whether the end is printed once more when it has been reached before it is said. */
  readonly again?: boolean;
}

/** Makes the session of a run. */
export function createSession(
  face: Face,
  environment: Environment,
  services: Services,
  signal: AbortSignal,
): Session {
  const { stdout, stderr } = environment;
  const program = face === "qemu" ? "qemu-img" : "platter";
  const escapes = face === "platter" || stdout.isTerminal;
  const session: Session = {
    face,
    program,
    environment,
    services,
    signal,
    exitCodeOnError: 1,
    untrusted: false,
    timeout: undefined,
    jsonErrors: false,
    objects: [],
    paint: painterFor(environment, "stdout"),
    print: (text) => stdout.write(text),
    note: (line) => stderr.write(`${line}\n`),
    warn: (message) => {
      // QEMU's second line of one warning is a sentence of its own.
      const text =
        face === "qemu"
          ? endLine(shown(message))
          : `${shown(message.replace("\nSome clusters", ". Some clusters"))}\n`;
      stderr.write(`${program}: warning: ${text}`);
    },
    safe: (name) => (escapes ? escapeControls(name) : name),
    async context(onProgress) {
      const { provider, codecs, sameBytes } = await services.surroundings(
        session.warn,
        face === "qemu" ? "working directory" : "image",
        session.timeout,
      );
      return {
        provider,
        codecs,
        sameBytes,
        secrets: secretsOf(session.objects, () => services.secretReader()),
        signal,
        untrusted: session.untrusted,
        onProgress,
        onWarning: session.warn,
        onRepair: (message) => session.note(session.safe(message)),
        // Ours says it with the error.
        onCorruption: face === "qemu" ? session.note : undefined,
        onProbedRaw: (name) => warnProbedRaw(session, name),
      };
    },
    async withProgress(parsed, look, work) {
      const display = progressDisplay(session, parsed, look);
      const stopAsking = environment.onSignal("SIGUSR1", display.ask);
      try {
        return await work(display);
      } finally {
        display.end();
        stopAsking();
      }
    },
  };
  const shown = (message: string): string => {
    if (face === "platter") return escapeControls(message);
    return stderr.isTerminal ? escapeQemu(message) : message;
  };
  return session;
}

/** A raw image that is written might become, by what is written, an image of another format. */
function warnProbedRaw(session: Session, name: string): void {
  if (session.face === "platter") {
    session.warn(`${name}: taken for a raw image, as nothing says otherwise; say so with -f raw`);
    return;
  }
  session.note(
    `WARNING: Image format was not specified for '${session.safe(name)}' and probing guessed raw.\n` +
      "         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n" +
      "         Specify the 'raw' format explicitly to remove the restrictions.",
  );
}

function progressDisplay(session: Session, parsed: Parsed, look: ProgressLook): ProgressDisplay {
  const { stdout, stderr, now } = session.environment;
  const quiet = parsed.has("quiet");
  if (session.face === "qemu") {
    return qemuProgress({ stdout, stderr, enabled: parsed.has("progress") && !quiet, ...look });
  }
  const mode = parsed.value("progressMode");
  if (mode === "json") return jsonProgress(stderr, now);
  const always = parsed.has("progress") || mode === "bar";
  const wanted = always || (stderr.isTerminal && mode === undefined && !parsed.has("json"));
  const patience = always ? 0 : PATIENCE;
  return barProgress(stderr, now, wanted && !quiet ? patience : Infinity);
}
