/** A guest that does one thing and ends: a kernel with its RAM filesystem, and disks to do it with. */
import { spawn } from "node:child_process";
import { PlatterError } from "../errors.ts";
import type { Acceleration } from "./acceleration.ts";
import type { GuestDisk } from "./machine.ts";
import { diskWords } from "./qemu-command.ts";
import { lastLine } from "./run-program.ts";

/** What it is made of. */
export interface Appliance {
  readonly qemu: string;
  readonly acceleration: Acceleration["kind"];
  /** Bytes; whole MiB. */
  readonly memory: number;
  readonly kernel: string;
  readonly initrd: string;
  /** The kernel's command line; the console is its first serial port. */
  readonly kernelArguments: string;
  /** On virtio, in this order; their serial numbers are `disk0`, `disk1` … */
  readonly disks: readonly GuestDisk[];
}

/** Who listens to it. */
export interface ApplianceListener {
  /** QEMU runs, as that process. */
  onStart?(pid: number): void;
  /** The guest has written a line on its serial port. What is thrown here ends the guest. */
  onLine(line: string): void;
  /** Milliseconds that the guest may be silent. */
  readonly patience: number;
  readonly signal?: AbortSignal | undefined;
}

const LONGEST_LINE = 65_536;

/**
 * Runs it until the guest turns itself off. QEMU is this process's child and does not outlive the call.
 *
 * @throws `E_NOT_FOUND` without QEMU, `E_EXTERNAL` if it fails or the guest is silent for too long, `E_ABORTED`, and what the listener throws
 */
export async function runAppliance(
  appliance: Appliance,
  listener: ApplianceListener,
): Promise<void> {
  const { qemu } = appliance;
  const child = spawn(qemu, applianceWords(appliance), {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C" },
  });
  let failure: Error | undefined;
  const end = (error: Error): void => {
    failure ??= error;
    child.kill("SIGKILL");
  };
  const { signal, patience } = listener;
  const abort = (): void => {
    end(new PlatterError("E_ABORTED", "The operation was aborted", { cause: signal?.reason }));
  };
  signal?.addEventListener("abort", abort);
  if (signal?.aborted === true) abort();
  let said = "";
  const silent = (): void => {
    const words = `The guest was silent for ${patience / 1000} seconds; the last it said: ${said.trim().slice(-200)}`;
    end(new PlatterError("E_EXTERNAL", words, { value: qemu }));
  };
  let timer = setTimeout(silent, patience);
  let complaints = "";
  child.stderr
    .setEncoding("utf8")
    .on("data", (text: string) => (complaints = (complaints + text).slice(-LONGEST_LINE)));
  let pending = "";
  child.stdout.setEncoding("latin1").on("data", (text: string) => {
    clearTimeout(timer);
    timer = setTimeout(silent, patience);
    const lines = (pending + text).split("\n");
    pending = (lines.pop() ?? "").slice(-LONGEST_LINE);
    try {
      for (const line of lines) {
        said = line.trim() === "" ? said : line;
        listener.onLine(line.replace(/\r$/, ""));
      }
    } catch (error) {
      end(error as Error);
    }
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  try {
    if (child.pid !== undefined) listener.onStart?.(child.pid);
    const code = await closed;
    if (failure !== undefined) throw failure;
    if (code === 0) return;
    const why = lastLine({ stdout: "", stderr: complaints });
    throw new PlatterError("E_EXTERNAL", `${qemu} ended with ${code ?? "a signal"}: ${why}`, {
      value: qemu,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new PlatterError("E_NOT_FOUND", `${qemu} cannot be run: is it installed?`, {
      value: qemu,
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

function applianceWords(appliance: Appliance): string[] {
  const { acceleration, memory, kernel, initrd, kernelArguments, disks } = appliance;
  const cpu = acceleration === "kvm" ? "host" : "max";
  const words = [
    ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    ["-machine", "q35", "-accel", acceleration, "-cpu", cpu, "-m", `${memory / 2 ** 20}M`],
    ["-chardev", "stdio,id=serial0,signal=off", "-serial", "chardev:serial0"],
    ["-kernel", kernel, "-initrd", initrd, "-append", `console=ttyS0 ${kernelArguments}`],
    ...disks.map((disk, index) => {
      const found = diskWords({ ...disk, bus: "virtio" }, index, () => "");
      // Its device comes last.
      return found.toSpliced(-1, 1, `${found.at(-1)},serial=disk${index}`);
    }),
  ];
  return words.flat();
}
