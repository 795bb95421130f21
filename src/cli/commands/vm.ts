import { resolve } from "node:path";
import type { PlatterError } from "../../errors.ts";
import {
  type DiskUsage,
  formatSize,
  type GuestState,
  type GuestStore,
  type Services,
} from "../contract.ts";
import { type JsonValue, plainJson } from "../json.ts";
import { alignColumns } from "../layout.ts";
import { jsonOption } from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { nearest } from "../suggest.ts";
import { argumentError, usageError } from "../usage.ts";
import { followConsole } from "./follow-guest.ts";

type Guests = Awaited<ReturnType<Services["guests"]>>;

const STOP_SECONDS = 60;

/** What an action gets. */
interface Call {
  readonly guests: Guests;
  readonly store: GuestStore;
  readonly session: Session;
  readonly parsed: Parsed;
  /** The guest; empty for `list`. */
  readonly name: string;
  /** What stands behind the guest's name. */
  readonly rest: readonly string[];
}

/** What an action has found or done: as JSON, and as text where there is something to say. */
interface Answer {
  readonly json: JsonValue;
  readonly text: string;
}

interface Action {
  /** Options of the table entry that the action takes, besides `--json`. */
  readonly options?: readonly string[];
  /** How many words may stand behind the guest's name. */
  readonly words?: number;
  readonly run: (call: Call) => Promise<Answer>;
}

const actions: Readonly<Record<string, Action>> = {
  list: { run: list },
  start: { run: start },
  stop: { options: ["timeout"], run: stop },
  destroy: { run: destroy },
  resume: { run: resume },
  delete: { options: ["disks"], run: remove },
  disks: { run: disks },
  stats: { run: statistics },
  console: { run: join },
  screenshot: { words: 1, run: screenshot },
};

/** The table entry of `vm`. */
export const vmCommand: CommandSpec = {
  name: "vm",
  face: "platter",
  summary: "look after the guests that platter install has made",
  description:
    "list shows all guests; start starts one from its disks; stop presses its power button and waits; destroy turns it off; resume lets one go on that was paused because a disk was full; delete forgets one that is off, with --disks also the disks that were made for it; disks shows what its disks take on the host; stats adds what the guest has done with them; console joins the terminal to its serial port, which Ctrl and ] leave; screenshot has a picture of its screen written as PNG, to NAME.png if not given. Guests are those of the user, in $XDG_STATE_HOME/platter/vm.",
  operands: "action [name [file]]",
  completes: Object.keys(actions),
  options: [
    {
      id: "timeout",
      friendly: "timeout",
      argument: "seconds",
      summary: `stop: how long to wait, ${STOP_SECONDS} if not given`,
      group: "Behaviour",
    },
    {
      id: "disks",
      friendly: "disks",
      summary: "delete: also the disks that were made for the guest",
      group: "Behaviour",
    },
    jsonOption,
  ],
  examples: [
    { line: "vm list", explanation: "All guests and what they do" },
    { line: "vm console demo", explanation: "Its serial console, also while it is installed" },
    { line: "vm delete --disks demo", explanation: "The guest and what was made for it" },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const [word = "", name = "", ...rest] = parsed.operands;
  const action = Object.hasOwn(actions, word) ? actions[word] : undefined;
  if (action === undefined) throw unknownAction(word);
  if (word === "list" ? name !== "" : name === "") {
    throw usageError(
      word === "list" ? "vm list takes no name." : `vm ${word} takes the name of a guest.`,
      "Expecting a name",
    );
  }
  const unexpected = rest[action.words ?? 0];
  if (unexpected !== undefined) {
    throw usageError(`"${unexpected}" is one word too many.`, "Unexpected argument");
  }
  for (const option of ["timeout", "disks"]) {
    if (!parsed.has(option) || action.options?.includes(option) === true) continue;
    throw usageError(`vm ${word} has no option --${option}.`, "Unrecognized option");
  }
  const guests = await session.services.guests();
  const store = new guests.GuestStore(guests.stateDirectory(session.environment.variables));
  const answer = await action.run({ guests, store, session, parsed, name, rest });
  session.print(parsed.has("json") ? `${plainJson(answer.json)}\n` : answer.text);
  return 0;
}

function unknownAction(word: string): PlatterError {
  const names = Object.keys(actions);
  const guess = nearest(word, names);
  const hint = guess === undefined ? `${names.join(", ")} are there` : `did you mean ${guess}?`;
  return usageError(
    word === "" ? `Say what to do: ${names.join(", ")}.` : `vm has no action "${word}"; ${hint}`,
    "Unknown action",
  );
}

async function list({ guests, store, session }: Call): Promise<Answer> {
  const { paint, safe } = session;
  const states = await guests.listGuests(store, (error) => session.warn(error.message));
  const rows = states.map(({ machine, state }) => [
    paint("name", machine.name),
    state,
    formatSize(machine.memory),
    machine.disks.map(({ path }) => safe(path)).join(" "),
  ]);
  return {
    json: states.map(stateJson),
    text: rows.length === 0 ? "There are no guests.\n" : alignColumns(rows),
  };
}

const stateJson = ({ machine, state, pid }: GuestState): JsonValue => ({
  name: machine.name,
  uuid: machine.uuid,
  state,
  pid,
  memory: machine.memory,
  vcpus: machine.vcpus,
  disks: machine.disks.map(({ path, format }) => ({ path, format })),
});

async function start({ guests, store, session, name }: Call): Promise<Answer> {
  const acceleration = await guests.startGuest(store, name, session.signal);
  if (acceleration.kind === "tcg") {
    session.warn(`no KVM, so the guest is emulated and slow: ${acceleration.reason}`);
  }
  return done(name, "started", `Started ${session.paint("name", name)}.\n`, {
    acceleration: acceleration.kind,
  });
}

async function stop({ guests, store, session, parsed, name }: Call): Promise<Answer> {
  const text = parsed.value("timeout") ?? String(STOP_SECONDS);
  if (!/^\d{1,6}$/.test(text)) {
    const message = `--timeout takes seconds, not "${text}".`;
    throw argumentError("--timeout", text, message, message);
  }
  const milliseconds = Number(text) * 1000;
  await guests.stopGuest(store, name, { milliseconds, signal: session.signal });
  return done(name, "stopped", `${session.paint("name", name)} has shut down.\n`);
}

async function destroy({ guests, store, session, name }: Call): Promise<Answer> {
  await guests.destroyGuest(store, name);
  return done(name, "destroyed", `${session.paint("name", name)} is off.\n`);
}

async function resume({ guests, store, session, name }: Call): Promise<Answer> {
  await guests.resumeGuest(store, name);
  return done(name, "resumed", `${session.paint("name", name)} goes on.\n`);
}

async function remove({ guests, store, session, parsed, name }: Call): Promise<Answer> {
  const { deleted, kept } = await guests.deleteGuest(store, name, parsed.has("disks"));
  const { paint, safe } = session;
  const line = (what: string) => (path: string) => `${what} ${paint("name", safe(path))}.\n`;
  const text = [
    `${paint("name", name)} is forgotten.\n`,
    ...deleted.map(line("Deleted")),
    ...kept.map(line("Left")),
  ];
  return done(name, "deleted", text.join(""), { "deleted-disks": deleted, "kept-disks": kept });
}

async function disks({ guests, store, session, name }: Call): Promise<Answer> {
  const usages = await guests.guestDisks(store, name);
  const { paint, safe } = session;
  const rows = usages.map(({ id, disk, fileLength, allocated }) => [
    id,
    paint("name", safe(disk.path)),
    disk.format,
    ...(fileLength === undefined || allocated === undefined
      ? ["is gone"]
      : [`allocated ${formatSize(allocated)}`, `length ${formatSize(fileLength)}`]),
  ]);
  return { json: usages.map(diskJson), text: alignColumns(rows) };
}

async function statistics({ guests, store, session, name }: Call): Promise<Answer> {
  const { state } = await guests.guestState(store, name);
  const usages = await guests.guestDisks(store, name);
  const rows = usages.map(({ id, allocated = 0, fileLength = 0, statistics: counted }) => [
    id,
    `allocated ${formatSize(allocated)} of ${formatSize(fileLength)}`,
    ...(counted === undefined
      ? []
      : [
          `read ${formatSize(counted.readBytes)} in ${counted.readOperations}`,
          `written ${formatSize(counted.writeBytes)} in ${counted.writeOperations}`,
          `flushed ${counted.flushOperations} times`,
          ...(counted.failedReads + counted.failedWrites === 0
            ? []
            : [session.paint("bad", `failed ${counted.failedReads + counted.failedWrites}`)]),
        ]),
  ]);
  return {
    json: { name, state, disks: usages.map(diskJson) },
    text: `${session.paint("name", name)}: ${state}\n${alignColumns(rows, { indent: 2 })}`,
  };
}

function diskJson({ id, disk, fileLength, allocated, statistics: counted }: DiskUsage): JsonValue {
  return {
    id,
    path: disk.path,
    format: disk.format,
    "file-length": fileLength,
    allocated,
    ...(counted !== undefined && {
      "read-bytes": counted.readBytes,
      "read-operations": counted.readOperations,
      "write-bytes": counted.writeBytes,
      "write-operations": counted.writeOperations,
      "flush-operations": counted.flushOperations,
      "highest-write": counted.highestWrite,
      "failed-reads": counted.failedReads,
      "failed-writes": counted.failedWrites,
    }),
  };
}

async function join({ guests, store, session, parsed, name }: Call): Promise<Answer> {
  if (parsed.has("json")) {
    throw usageError("A console cannot be printed as JSON.", "Unrecognized option '--json'");
  }
  await followConsole(session, guests, store, name);
  return { json: {}, text: "" };
}

async function screenshot({ guests, store, session, name, rest }: Call): Promise<Answer> {
  const file = rest[0] ?? `${name}.png`;
  await guests.screenshot(store, name, resolve(file));
  const text = `Picture: ${session.paint("name", session.safe(file))}\n`;
  return done(name, "pictured", text, { file });
}

function done(
  name: string,
  action: string,
  text: string,
  more: Readonly<Record<string, JsonValue>> = {},
): Answer {
  return { json: { name, action, ...more }, text };
}
