import { setTimeout as sleep } from "node:timers/promises";
import { PlatterError, throwIfAborted } from "../../errors.ts";
import { type DiskUsage, formatSize, type GuestStore, type Services } from "../contract.ts";
import type { Session } from "../session.ts";

type Guests = Awaited<ReturnType<Services["guests"]>>;

/** How often it is looked, in milliseconds. */
const POLL = 500;

/** Joins the user's terminal to the guest's console until one of them leaves. */
export async function followConsole(
  session: Session,
  guests: Guests,
  store: GuestStore,
  name: string,
): Promise<"detached" | "ended"> {
  session.note(`Console of ${name}. Ctrl and ] leave it; the guest goes on.`);
  const before = await guests.serialLog(store, name);
  const terminal = session.environment.terminal();
  const end = await guests.attachConsole(store, name, terminal, { before, signal: session.signal });
  throwIfAborted(session.signal);
  session.note(
    end === "detached"
      ? `\nLeft the console; platter vm console ${name} comes back to it.`
      : `\n${name} has ended.`,
  );
  return end;
}

/**
 * Waits until the guest is off, with a line on the terminal that shows how its disks grow. Returns the state that
 * it ended in. A guest that was paused because a disk is full is reported once.
 *
 * @throws `E_EXTERNAL` if it still runs after `milliseconds`
 */
export async function followGuest(
  session: Session,
  guests: Guests,
  store: GuestStore,
  name: string,
  { milliseconds = Infinity, json }: { milliseconds: number | undefined; json: boolean },
): Promise<string> {
  const { stderr, now } = session.environment;
  const live = stderr.isTerminal && !json;
  const start = now();
  let reported = "";
  try {
    for (;;) {
      throwIfAborted(session.signal);
      const { state } = await guests.guestState(store, name);
      if (state === "shut off" || state === "killed") return state;
      if (state === "io-error" && reported !== state) {
        session.warn(
          `${name} is paused: a disk could not be written, as happens when there is no space left. Make room, then platter vm resume ${name}.`,
        );
      }
      reported = state;
      if (live) stderr.write(`\r${await liveLine(guests, store, name, state)}\x1b[K`);
      if (now() - start >= milliseconds) throw tooLate(name, milliseconds);
      await sleep(POLL);
    }
  } finally {
    if (live) stderr.write("\r\x1b[K");
  }
}

async function liveLine(
  guests: Guests,
  store: GuestStore,
  name: string,
  state: string,
): Promise<string> {
  try {
    const disks = await guests.guestDisks(store, name);
    return `${name}: ${state}  ${disks.map(diskWords).join("  ")}`;
  } catch (error) {
    // It may end between two looks.
    if (error instanceof PlatterError) return `${name}: ${state}`;
    throw error;
  }
}

function diskWords({ id, fileLength = 0, allocated = 0, statistics }: DiskUsage): string {
  const written = statistics === undefined ? "" : `, written ${formatSize(statistics.writeBytes)}`;
  return `${id}: allocated ${formatSize(allocated)} of ${formatSize(fileLength)}${written}`;
}

const tooLate = (name: string, milliseconds: number): PlatterError =>
  new PlatterError(
    "E_EXTERNAL",
    `"${name}" is not off after ${milliseconds / 60_000} minutes; it goes on in the background.`,
    { value: name },
  );
