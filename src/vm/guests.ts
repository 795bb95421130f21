/** What can be done with guests that are there: the functions behind `platter vm`. */
import { readFile, rm, stat, unlink } from "node:fs/promises";
import { PlatterError } from "../errors.ts";
import type { Acceleration } from "./acceleration.ts";
import type { Guest } from "./guest-file.ts";
import { diskId, type GuestDisk } from "./machine.ts";
import {
  type BlockStatistics,
  powerDown,
  queryBlockStatistics,
  queryStatus,
  quit,
  resume,
  screenDump,
} from "./qmp-commands.ts";
import { QmpClient } from "./qmp.ts";
import { endedOrderly, findProcess, killProcess, startQemu, waitForEnd } from "./qemu-process.ts";
import type { GuestStore } from "./store.ts";

/** A guest and what it is doing. */
export interface GuestState extends Guest {
  /** `shut off`, `killed` if QEMU did not end by itself, `not answering`, or QEMU's word: `running`, `paused`, `io-error` … */
  readonly state: string;
  readonly pid: number | undefined;
}

/** What a guest's disk takes on the host, next to what the guest did with it. */
export interface DiskUsage {
  readonly disk: GuestDisk;
  /** QEMU's name for it. */
  readonly id: string;
  /** Bytes; undefined if the file is gone. */
  readonly fileLength: number | undefined;
  /** Bytes that the host has allocated. */
  readonly allocated: number | undefined;
  /** Since QEMU was started; undefined while the guest is off. */
  readonly statistics: BlockStatistics | undefined;
}

/** Milliseconds that QEMU has to answer before it is taken for dead. */
const PATIENCE = 5000;

/** All guests, by name. A damaged description is reported to `onProblem`, and the guest left out. */
export async function listGuests(
  store: GuestStore,
  onProblem: (error: PlatterError) => void,
): Promise<GuestState[]> {
  const states: GuestState[] = [];
  for (const name of await store.names()) {
    try {
      states.push(await guestState(store, name));
    } catch (error) {
      if (!(error instanceof PlatterError)) throw error;
      onProblem(error);
    }
  }
  return states;
}

/** What one guest is doing. */
export async function guestState(store: GuestStore, name: string): Promise<GuestState> {
  const guest = await store.read(name);
  const paths = store.paths(name);
  const pid = await findProcess(guest.machine, paths);
  if (pid === undefined) {
    return { ...guest, pid, state: (await endedOrderly(paths)) ? "shut off" : "killed" };
  }
  try {
    await using qmp = await QmpClient.connect(paths.qmpSocket, { timeout: PATIENCE });
    return { ...guest, pid, state: (await queryStatus(qmp)).status };
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    // It may just have ended.
    const still = await findProcess(guest.machine, paths);
    return { ...guest, pid: still, state: still === undefined ? "shut off" : "not answering" };
  }
}

/** Starts a guest from its disks. */
export async function startGuest(
  store: GuestStore,
  name: string,
  signal?: AbortSignal,
): Promise<Acceleration> {
  const { machine } = await store.read(name);
  const paths = store.paths(name);
  const acceleration = await startQemu(machine, paths, { signal });
  // Those of its installation have done their work.
  for (const path of [paths.kernel, paths.initrd]) await rm(path, { force: true });
  return acceleration;
}

/**
 * Asks a guest to shut down, as its power button would, and waits.
 *
 * @param milliseconds how long; `E_EXTERNAL` if it still runs then
 */
export async function stopGuest(
  store: GuestStore,
  name: string,
  {
    milliseconds,
    signal,
  }: { readonly milliseconds: number; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const { machine } = await store.read(name);
  const paths = store.paths(name);
  await talk(store, name, powerDown, signal);
  if (await waitForEnd(machine, paths, { milliseconds, signal })) return;
  throw new PlatterError(
    "E_EXTERNAL",
    `"${name}" did not shut down within ${milliseconds / 1000} seconds; platter vm destroy ${name} turns it off.`,
    { value: name },
  );
}

/** Turns a guest off, as pulling its plug would. QEMU writes back what it holds; if it does not listen, it is killed. */
export async function destroyGuest(store: GuestStore, name: string): Promise<void> {
  const { machine } = await store.read(name);
  const paths = store.paths(name);
  try {
    await talk(store, name, quit);
    if (await waitForEnd(machine, paths, { milliseconds: PATIENCE })) return;
  } catch (error) {
    if (!(error instanceof PlatterError) || error.code !== "E_EXTERNAL") throw error;
  }
  await killProcess(machine, paths);
  await waitForEnd(machine, paths, { milliseconds: PATIENCE });
  // This end was wanted.
  await rm(paths.pidFile, { force: true });
}

/**
 * Forgets a guest that is off. Returns the disks that were deleted and those that were left.
 *
 * @param withDisks also delete the disks that were made for it
 */
export async function deleteGuest(
  store: GuestStore,
  name: string,
  withDisks: boolean,
): Promise<{ readonly deleted: readonly string[]; readonly kept: readonly string[] }> {
  const { machine, madeDisks, pid } = await guestState(store, name);
  if (pid !== undefined) {
    throw new PlatterError("E_LOCKED", `"${name}" is running; stop it first.`, { value: name });
  }
  const made = machine.disks.map(({ path }) => path).filter((path) => madeDisks.includes(path));
  const deleted: string[] = [];
  for (const path of withDisks ? made : []) {
    try {
      await unlink(path);
      deleted.push(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      throw new PlatterError("E_IO", `${path} cannot be deleted: ${(error as Error).message}`, {
        file: path,
        cause: error,
      });
    }
  }
  await store.remove(name);
  const kept = machine.disks.map(({ path }) => path).filter((path) => !deleted.includes(path));
  return { deleted, kept };
}

/** What a guest's disks take, and if it runs, what it has done with them. */
export async function guestDisks(store: GuestStore, name: string): Promise<DiskUsage[]> {
  const { machine, pid } = await guestState(store, name);
  const statistics = pid === undefined ? [] : await talk(store, name, queryBlockStatistics);
  return Promise.all(
    machine.disks.map(async (disk, index) => {
      const id = diskId(index);
      const stats = await stat(disk.path).catch(() => undefined);
      return {
        disk,
        id,
        fileLength: stats?.size,
        allocated: stats === undefined ? undefined : stats.blocks * 512,
        statistics: statistics.find(({ device }) => device === id),
      };
    }),
  );
}

/** Lets a guest go on that was paused, as QEMU does when a disk cannot be written. */
export async function resumeGuest(store: GuestStore, name: string): Promise<void> {
  await talk(store, name, resume);
}

/** Has a picture of a guest's screen written to `path`, which is absolute, as PNG. */
export async function screenshot(store: GuestStore, name: string, path: string): Promise<void> {
  const { machine } = await store.read(name);
  if (machine.graphics.kind === "none") {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `"${name}" has no screen; it was made with --graphics none.`,
      { value: name },
    );
  }
  await talk(store, name, (qmp) => screenDump(qmp, path));
}

/** What the guest has said on its serial port since it was started. */
export async function serialLog(store: GuestStore, name: string): Promise<string> {
  await store.read(name);
  return readFile(store.paths(name).serialLog, "latin1").catch(() => "");
}

/** Talks to the guest's QEMU for a moment. `E_NOT_FOUND` if it is off. */
async function talk<Result>(
  store: GuestStore,
  name: string,
  task: (qmp: QmpClient) => Promise<Result>,
  signal?: AbortSignal,
): Promise<Result> {
  const { machine } = await store.read(name);
  const paths = store.paths(name);
  if ((await findProcess(machine, paths)) === undefined) {
    throw new PlatterError("E_NOT_FOUND", `"${name}" is not running.`, { value: name });
  }
  await using qmp = await QmpClient.connect(paths.qmpSocket, { timeout: PATIENCE, signal });
  return await task(qmp);
}
