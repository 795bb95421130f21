/** From nothing to a guest that runs: `platter install`. */
import { randomUUID } from "node:crypto";
import { access, rm, unlink, writeFile } from "node:fs/promises";
import { constants } from "node:fs";
import { resolve } from "node:path";
import type { CommandContext } from "../commands/index.ts";
import { PlatterError } from "../errors.ts";
import { probeAcceleration, type Acceleration } from "./acceleration.ts";
import { cloudInitSeed, type CloudInit } from "./cloud-init.ts";
import { libvirtXml } from "./libvirt-xml.ts";
import { findKernel, type FoundKernel, type Location } from "./location.ts";
import { checkMachine, type InstallMedia, type Machine } from "./machine.ts";
import {
  makeDisk,
  planDisk,
  type DiskCost,
  type DiskRequest,
  type PlannedDisk,
} from "./new-disks.ts";
import { killProcess, QEMU, startQemu } from "./qemu-process.ts";
import { type GuestStore, nameInUse } from "./store.ts";

/** What to install. */
export interface InstallOptions {
  /** Everything about the guest but its disks; CDs are those besides the one that it is installed from. */
  readonly machine: Omit<Machine, "uuid" | "disks" | "cdroms">;
  readonly disks: readonly DiskRequest[];
  /** From where; without any, the guest is started from its first disk (`--import`). */
  readonly cdrom?: string | undefined;
  readonly location?: Location | undefined;
  /** The kernel's command line; only with a location. */
  readonly kernelArguments?: string | undefined;
  readonly cloudInit?: CloudInit | undefined;
  /** Disks that exist may be replaced by new ones. */
  readonly force?: boolean | undefined;
}

/** All that has been found out before anything is made. */
export interface InstallPlan {
  readonly machine: Machine;
  readonly install: InstallMedia | undefined;
  readonly acceleration: Acceleration;
  readonly disks: readonly PlannedDisk[];
  readonly costs: readonly DiskCost[];
  /** The guest while it is installed, as libvirt's XML; and as it is afterwards. */
  readonly installXml: string;
  readonly xml: string;
  readonly seed: Uint8Array | undefined;
  readonly kernel: FoundKernel | undefined;
}

/**
 * Finds out whether it can be done and what it takes; makes nothing.
 *
 * @throws `E_EXISTS` for a name or a disk that is there, `E_NOT_FOUND`, `E_INVALID_ARGUMENT` …
 */
export async function planInstall(
  options: InstallOptions,
  store: GuestStore,
  context: CommandContext,
): Promise<InstallPlan> {
  const { name } = options.machine;
  const paths = store.paths(name);
  if (await store.has(name)) throw nameInUse(name);
  const disks: PlannedDisk[] = [];
  for (const request of options.disks) {
    disks.push(await planDisk(request, options.force ?? false, context));
  }
  refuseTwice(disks);
  const uuid = randomUUID();
  const seed = options.cloudInit === undefined ? undefined : cloudInitSeed(options.cloudInit, uuid);
  const kernel = options.location === undefined ? undefined : await findKernel(options.location);
  const cdrom = await readable(options.cdrom ?? kernel?.iso);
  const machine: Machine = {
    ...options.machine,
    uuid,
    disks: disks.map(({ disk }) => disk),
    cdroms: seed === undefined ? [] : [paths.seed],
  };
  checkMachine(machine);
  const install: InstallMedia | undefined =
    cdrom === undefined && kernel === undefined
      ? undefined
      : {
          cdrom,
          kernel: kernel && {
            kernel: paths.kernel,
            initrd: kernel.initrd && paths.initrd,
            arguments: options.kernelArguments ?? "",
          },
        };
  const acceleration = await probeAcceleration({ qemu: QEMU, signal: context.signal });
  return {
    machine,
    install,
    acceleration,
    disks,
    costs: disks.flatMap(({ cost }) => cost ?? []),
    installXml: libvirtXml(machine, acceleration.kind, install),
    xml: libvirtXml(machine, acceleration.kind),
    seed,
    kernel,
  };
}

/**
 * Makes the disks and the guest's files. If it fails, what it made is gone again, but for disks that took the place of others.
 *
 * @returns what undoes it
 */
async function prepareInstall(
  plan: InstallPlan,
  store: GuestStore,
  context: CommandContext,
): Promise<() => Promise<void>> {
  const { machine, disks, seed, kernel } = plan;
  const paths = await store.reserve(machine.name);
  const made: string[] = [];
  const undo = async (): Promise<void> => {
    for (const path of made) await unlink(path).catch(() => undefined);
    await store.remove(machine.name);
  };
  try {
    for (const planned of disks) {
      await makeDisk(planned, context);
      if (planned.make !== undefined && !planned.replaces) made.push(planned.disk.path);
    }
    // A seed may hold a password.
    if (seed !== undefined) await writeFile(paths.seed, seed, { mode: 0o600 });
    if (kernel !== undefined) await writeFile(paths.kernel, kernel.kernel);
    if (kernel?.initrd !== undefined) await writeFile(paths.initrd, kernel.initrd);
    const madeDisks = disks.flatMap(({ disk, make }) => (make === undefined ? [] : [disk.path]));
    await store.write({ machine, madeDisks });
    return undo;
  } catch (error) {
    await undo();
    throw error;
  }
}

/** Makes everything and starts the guest under QEMU. If that fails, what was made is gone again. */
export async function startInstall(
  plan: InstallPlan,
  store: GuestStore,
  context: CommandContext,
): Promise<void> {
  const undo = await prepareInstall(plan, store, context);
  const { machine, install, acceleration } = plan;
  const paths = store.paths(machine.name);
  try {
    await startQemu(machine, paths, { install, acceleration, signal: context.signal });
  } catch (error) {
    // Not a file is taken away from a QEMU that has just come to life.
    await killProcess(machine, paths);
    await undo();
    throw error;
  }
  // QEMU has read them.
  for (const path of [paths.kernel, paths.initrd]) await rm(path, { force: true });
}

function refuseTwice(disks: readonly PlannedDisk[]): void {
  const paths = disks.map(({ disk }) => disk.path);
  const twice = paths.find((path, index) => paths.indexOf(path) !== index);
  if (twice === undefined) return;
  throw new PlatterError("E_SAME_FILE", `${twice} is named as two disks.`, { file: twice });
}

async function readable(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const full = resolve(path);
  try {
    await access(full, constants.R_OK);
    return full;
  } catch (cause) {
    throw new PlatterError("E_NOT_FOUND", `--cdrom: ${full} cannot be read.`, {
      file: full,
      cause,
    });
  }
}
