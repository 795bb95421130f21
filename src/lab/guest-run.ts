/** One start of the guest: every disk is measured once, and the host is watched meanwhile. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { PlatterError } from "../errors.ts";
import { type Acceleration, QEMU, runAppliance } from "../vm/index.ts";
import { type GuestCandidate, writeJob } from "./guest-candidates.ts";
import { jobScript, type JobSize, readLine } from "./guest-job.ts";
import type { GuestSystem } from "./guest-system.ts";

/** How QEMU opens the disks. */
export const guestCaches = ["none", "writeback"] as const;
export type GuestCache = (typeof guestCaches)[number];

/** The image file at a moment while its disk was measured. */
export interface HostSample {
  /** Milliseconds since the first workload on this disk began. */
  readonly at: number;
  readonly fileLength: number;
  readonly allocated: number;
}

/** What one start found out about one disk. */
export interface DiskMeasurement {
  readonly label: string;
  /** Milliseconds by workload. */
  readonly times: Readonly<Record<string, number>>;
  readonly samples: readonly HostSample[];
  /** Milliseconds of processor time that QEMU took, the guest's own included. */
  readonly cpu: number;
}

/** What is needed for it. */
export interface GuestRun {
  readonly system: GuestSystem;
  readonly acceleration: Acceleration["kind"];
  readonly cache: GuestCache;
  /** In the order in which they are measured. */
  readonly candidates: readonly GuestCandidate[];
  readonly size: JobSize;
  /** The same for all disks of a start. */
  readonly seed: number;
  /** Where the images are. */
  readonly directory: string;
  readonly signal: AbortSignal | undefined;
  /** A disk's turn has come: the first one's, the second one's … */
  onTurn(count: number): void;
}

const MEMORY = 512 * 2 ** 20;
const PATIENCE = 180_000;
const SAMPLE_EVERY = 100;
/** `getconf CLK_TCK`, which is 100 wherever Linux runs today. */
const MILLISECONDS_PER_TICK = 10;

/** The disk whose turn it is. */
interface Turn {
  readonly candidate: GuestCandidate;
  readonly began: number;
  readonly cpuBefore: Promise<number>;
  readonly samples: HostSample[];
  cpu: Promise<number>;
}

/** Measures each of `candidates` in one guest, one after another. Images are there and empty. */
export async function runGuest(run: GuestRun): Promise<DiskMeasurement[]> {
  const { candidates, directory, system, cache } = run;
  const job = join(directory, "job");
  const serials = candidates.map((_candidate, index) => `disk${index + 1}`);
  await writeJob(job, jobScript(serials, run.size, run.seed));
  const disk = { place: "file", bus: "virtio", discard: "ignore" } as const;
  const disks = [
    { ...disk, path: job, format: "raw", cache: "writeback" as const },
    ...candidates.map(({ file, format }) => ({
      ...disk,
      path: join(directory, file),
      format,
      cache,
    })),
  ];
  const turns: Turn[] = [];
  const times = new Map<string, Record<string, number>>(serials.map((serial) => [serial, {}]));
  let pid = 0;
  let ended = false;
  const serialOf = ({ candidate }: Turn): string => serials[candidates.indexOf(candidate)] ?? "";
  const closeTurn = (): void => {
    const turn = turns.at(-1);
    if (turn !== undefined) turn.cpu = processorTime(pid);
  };
  const sample = async (): Promise<void> => {
    const of = ended ? undefined : turns.at(-1);
    if (of === undefined) return;
    const { size, blocks } = await stat(join(directory, of.candidate.file));
    of.samples.push({
      at: Math.round(performance.now() - of.began),
      fileLength: size,
      allocated: blocks * 512,
    });
  };
  const sampler = setInterval(() => void sample().catch(() => undefined), SAMPLE_EVERY);
  try {
    await runAppliance(
      {
        qemu: QEMU,
        acceleration: run.acceleration,
        memory: MEMORY,
        kernel: system.kernel,
        initrd: system.initrd,
        kernelArguments: `quiet panic=-1 rdinit=${system.init}`,
        disks,
      },
      {
        patience: PATIENCE,
        signal: run.signal,
        onStart: (id) => (pid = id),
        onLine: (text) => {
          const line = readLine(text);
          if (line.kind === "disk") {
            closeTurn();
            const candidate = candidates[serials.indexOf(line.serial)];
            if (candidate === undefined) return;
            const cpuBefore = processorTime(pid);
            const began = performance.now();
            turns.push({ candidate, began, cpuBefore, samples: [], cpu: cpuBefore });
            run.onTurn(turns.length);
          } else if (line.kind === "time") {
            const known = times.get(line.serial);
            if (known !== undefined) known[line.workload] = line.milliseconds;
            // The first one means that all are done.
            if (!ended) closeTurn();
            ended = true;
          }
        },
      },
    );
  } finally {
    clearInterval(sampler);
  }
  const wanted = candidates.length * run.size.workloads.length;
  const found = [...times.values()].reduce((sum, known) => sum + Object.keys(known).length, 0);
  if (found === wanted && turns.length === candidates.length) {
    return Promise.all(turns.map((turn) => measured(turn, times.get(serialOf(turn)) ?? {})));
  }
  throw new PlatterError(
    "E_EXTERNAL",
    `The guest told ${found} of ${wanted} times: its system has no fio that works, or no driver for virtio disks.`,
    { value: found },
  );
}

async function measured(
  { candidate, samples, cpu, cpuBefore }: Turn,
  times: Readonly<Record<string, number>>,
): Promise<DiskMeasurement> {
  const took = (await cpu) - (await cpuBefore);
  return { label: candidate.label, times, samples, cpu: Math.max(0, took) };
}

/** Milliseconds of processor time that a process has taken; 0 if it cannot be known. */
async function processorTime(pid: number): Promise<number> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    // proc(5): behind the name in parentheses, which may have any characters, utime and stime are fields 12 and 13.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * MILLISECONDS_PER_TICK;
  } catch {
    return 0;
  }
}
