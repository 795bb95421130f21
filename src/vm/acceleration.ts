/**
 * Whether guests run on the processor (KVM) or in an emulation of it (TCG). That /dev/kvm is there says little:
 * inside another virtual machine it may be forbidden, hang at a guest's first instruction, or carry out each one of
 * them slowly in software. So a guest that counts is run, under a time limit.
 */
import { constants } from "node:fs";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lastLine, runProgram } from "./run-program.ts";
import { trialPort, trialRom, trialWord } from "./trial-rom.ts";

/** How a guest's instructions are carried out, and if not by KVM, why. */
export type Acceleration =
  | { readonly kind: "kvm" }
  | { readonly kind: "tcg"; readonly reason: string };

/** How to find out. */
export interface AccelerationOptions {
  /** The QEMU that is going to run the guest. */
  readonly qemu: string;
  /** Where the kernel offers KVM. */
  readonly device?: string | undefined;
  /** Milliseconds that the trial may take. */
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The status that QEMU ends with when the trial's guest has written its word (isa-debug-exit). */
const SUCCESS = (trialWord << 1) | 1;
const PATIENCE = 3000;

/**
 * Finds out by trial. Never throws for a KVM that does not work: that is an answer.
 *
 * @throws `E_NOT_FOUND` if there is no such QEMU, `E_ABORTED`
 */
export async function probeAcceleration(options: AccelerationOptions): Promise<Acceleration> {
  const { qemu, device = "/dev/kvm", timeout = PATIENCE, signal } = options;
  const obstacle = await obstacleTo(device);
  if (obstacle !== undefined) return { kind: "tcg", reason: obstacle };
  const directory = await mkdtemp(join(tmpdir(), "platter-kvm-"));
  try {
    const rom = join(directory, "trial.rom");
    await writeFile(rom, trialRom());
    const outcome = await runProgram(qemu, trialWords("kvm", rom), { timeout, signal });
    if (outcome.status === SUCCESS) return { kind: "kvm" };
    return {
      kind: "tcg",
      reason: outcome.late
        ? `${device} is there, but a guest that counts to 67 million did not end within ${timeout / 1000} seconds`
        : `${device} is there, but QEMU cannot use it: ${lastLine(outcome)}`,
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function obstacleTo(device: string): Promise<string | undefined> {
  try {
    await access(device, constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOENT"
      ? `there is no ${device}`
      : `${device} may not be used by this user (${code ?? "unknown error"}); members of its group may`;
  }
}

/** The arguments with which QEMU runs the trial, whose firmware is the file `rom`. */
export function trialWords(kind: Acceleration["kind"], rom: string): string[] {
  const cpu = kind === "kvm" ? "host" : "max";
  const guest = ["-machine", `pc,accel=${kind}`, "-cpu", cpu, "-m", "16", "-bios", rom];
  const bare = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
  return [...guest, ...bare, "-device", `isa-debug-exit,iobase=${trialPort},iosize=1`];
}
