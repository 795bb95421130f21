/** The QEMU that runs a guest: whether it is there, its beginning, and its end. */
import { copyFile, open, readFile, rm } from "node:fs/promises";
import { constants } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { PlatterError, throwIfAborted } from "../errors.ts";
import { probeAcceleration, type Acceleration } from "./acceleration.ts";
import { freePort } from "./free-port.ts";
import type { InstallMedia, Machine } from "./machine.ts";
import { qemuCommand } from "./qemu-command.ts";
import { lastLine, type ProgramOutcome, runProgram } from "./run-program.ts";
import type { GuestPaths } from "./store.ts";

/** The program, found through PATH. */
export const QEMU = "qemu-system-x86_64";
/** Milliseconds until QEMU has its devices and is in the background, or something is wrong. */
const START_PATIENCE = 60_000;
const POLL = 100;

/** How a guest is started. */
export interface StartOptions {
  readonly install?: InstallMedia | undefined;
  /** As found before; found out if not given. */
  readonly acceleration?: Acceleration | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts QEMU in the background, where it stays when the terminal is closed.
 *
 * @throws `E_NOT_FOUND` without QEMU or UEFI's firmware, `E_LOCKED` if somebody has one of its disks, `E_EXISTS` if it runs already, `E_EXTERNAL` with QEMU's words
 */
export async function startQemu(
  machine: Machine,
  paths: GuestPaths,
  options: StartOptions = {},
): Promise<Acceleration> {
  const { install, signal } = options;
  if ((await findProcess(machine, paths)) !== undefined) {
    throw new PlatterError("E_EXISTS", `"${machine.name}" is running already.`, {
      value: machine.name,
    });
  }
  const acceleration = options.acceleration ?? (await probeAcceleration({ qemu: QEMU, signal }));
  const uefi = machine.firmware === "uefi" ? await prepareUefi(paths) : undefined;
  const { kind, port, listen } = machine.graphics;
  const words = qemuCommand(machine, {
    ...paths,
    acceleration: acceleration.kind,
    uefi,
    install,
    graphicsPort: kind === "spice" ? (port ?? (await freePort(listen ?? "127.0.0.1"))) : port,
  });
  // What a run that was killed left would be in the way.
  for (const path of [paths.qmpSocket, paths.serialSocket, paths.pidFile])
    await rm(path, { force: true });
  const outcome = await runProgram(QEMU, words, { timeout: START_PATIENCE, signal });
  if (outcome.status === 0) return acceleration;
  throw startError(machine.name, outcome);
}

function startError(name: string, outcome: ProgramOutcome): PlatterError {
  const start = `"${name}" cannot be started:`;
  const locked = /Is another process using the image \[(.*)\]/.exec(outcome.stderr);
  if (locked !== null) {
    return new PlatterError(
      "E_LOCKED",
      `${start} another program is using one of its disks, ${locked[1]}.`,
      { file: locked[1] },
    );
  }
  const why = outcome.late
    ? `QEMU was not there after ${START_PATIENCE / 1000} seconds.`
    : `QEMU: ${lastLine(outcome)}`;
  return new PlatterError("E_EXTERNAL", `${start} ${why}`, { value: name });
}

/**
 * The id of the process that runs the guest; undefined if none does. A number in a file may be that of
 * another process by now, so its command line has to have the guest's UUID.
 */
export async function findProcess(
  { uuid }: Machine,
  { pidFile }: GuestPaths,
): Promise<number | undefined> {
  try {
    const pid = Number(await readFile(pidFile, "utf8"));
    if (!Number.isInteger(pid) || pid < 2) return undefined;
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8");
    return line.split("\0").includes(uuid) ? pid : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH" || code === "ENOTDIR") return undefined;
    throw new PlatterError("E_IO", `${pidFile}: ${(error as Error).message}`, {
      file: pidFile,
      cause: error,
    });
  }
}

/** Whether QEMU has ended by itself: one that was killed leaves the file with its id. */
export async function endedOrderly({ pidFile }: GuestPaths): Promise<boolean> {
  try {
    await (await open(pidFile, constants.O_RDONLY)).close();
    return false;
  } catch {
    return true;
  }
}

/** Waits until QEMU is gone; false if it still is there after `milliseconds`. */
export async function waitForEnd(
  machine: Machine,
  paths: GuestPaths,
  {
    milliseconds,
    signal,
  }: { readonly milliseconds: number; readonly signal?: AbortSignal | undefined },
): Promise<boolean> {
  const until = performance.now() + milliseconds;
  while ((await findProcess(machine, paths)) !== undefined) {
    throwIfAborted(signal);
    if (performance.now() >= until) return false;
    await sleep(POLL);
  }
  return true;
}

/** Ends a QEMU that does not listen any more. */
export async function killProcess(machine: Machine, paths: GuestPaths): Promise<void> {
  const pid = await findProcess(machine, paths);
  if (pid !== undefined) process.kill(pid, "SIGKILL");
}

/** Where distributions have the firmware, and the variables that a new guest begins with. */
const firmware: ReadonlyArray<readonly [code: string, variables: string]> = [
  ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"],
  ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"],
  ["/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"],
  ["/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"],
];

async function prepareUefi({
  uefiVariables,
}: GuestPaths): Promise<{ code: string; variables: string }> {
  for (const [code, template] of firmware) {
    try {
      await (await open(code, constants.O_RDONLY)).close();
      // The guest's own settings, once it has some, are not to be lost.
      await copyFile(template, uefiVariables, constants.COPYFILE_EXCL).catch(ignoreExisting);
      return { code, variables: uefiVariables };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  throw new PlatterError(
    "E_NOT_FOUND",
    "UEFI's firmware is not installed: Debian and Ubuntu have it in the package ovmf.",
    { field: "boot", value: "uefi" },
  );
}

function ignoreExisting(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
}
