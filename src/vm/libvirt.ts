/** A guest handed to libvirt, through its own program. Each call has a time limit: a libvirtd that probes a broken KVM hangs. */
import { mkdtemp, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandContext } from "../commands/index.ts";
import { PlatterError } from "../errors.ts";
import type { InstallPlan } from "./install.ts";
import { makeDisk } from "./new-disks.ts";
import { lastLine, runProgram } from "./run-program.ts";

const PATIENCE = 60_000;

/**
 * Makes the disks, defines the guest and starts it. A guest with installation media is started from a description
 * with them and defined without, so that it boots from its disk afterwards. Disks that were made are gone if that fails.
 *
 * @throws `E_NOT_FOUND` without virsh, `E_EXTERNAL` with its words, `E_UNSUPPORTED` for what would need files of ours
 */
export async function installWithLibvirt(
  plan: InstallPlan,
  uri: string,
  context: CommandContext,
): Promise<void> {
  refuseOwnFiles(plan);
  const directory = await mkdtemp(join(tmpdir(), "platter-libvirt-"));
  const made: string[] = [];
  const { uuid } = plan.machine;
  let started = false;
  const virsh = async (words: readonly string[]): Promise<void> => call(uri, words, context.signal);
  try {
    const described = async (name: string, xml: string): Promise<string> => {
      const path = join(directory, name);
      await writeFile(path, xml);
      return path;
    };
    await virsh(["version"]);
    for (const planned of plan.disks) {
      await makeDisk(planned, context);
      if (planned.make !== undefined && !planned.replaces) made.push(planned.disk.path);
    }
    const lasting = await described("domain.xml", plan.xml);
    started = true;
    if (plan.install === undefined) {
      // In one call, as libvirt's test driver forgets everything between two. If the first fails, so does the second.
      await virsh([`define '${lasting}'; start ${uuid}`]);
    } else {
      await virsh(["create", await described("install.xml", plan.installXml)]);
      await virsh(["define", lasting]);
    }
  } catch (error) {
    // By its UUID, as there may be another guest of that name.
    if (started) await virsh([`destroy ${uuid}; undefine ${uuid}`]).catch(() => undefined);
    for (const path of made) await unlink(path).catch(() => undefined);
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Our state directory is no place from which libvirt's QEMU, another user's, could read. */
function refuseOwnFiles({ seed, kernel }: InstallPlan): void {
  const option =
    seed !== undefined ? "--cloud-init" : kernel !== undefined ? "--location" : undefined;
  if (option === undefined) return;
  throw new PlatterError(
    "E_UNSUPPORTED",
    `${option} together with --connect is not supported: its files would have to be where libvirt can read them.`,
    { field: option },
  );
}

async function call(
  uri: string,
  words: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const outcome = await runProgram("virsh", ["-q", "-c", uri, ...words], {
    timeout: PATIENCE,
    signal,
  });
  if (outcome.status === 0) return;
  const why = outcome.late ? `no answer within ${PATIENCE / 1000} seconds` : lastLine(outcome);
  throw new PlatterError("E_EXTERNAL", `virsh -c ${uri}: ${why}`, { value: uri });
}
