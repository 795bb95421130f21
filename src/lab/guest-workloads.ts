/** What fio does in the guest, and what it says about it. */
import { PlatterError } from "../errors.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** One kind of work on a disk. */
export interface GuestWorkload {
  readonly id: string;
  /** As tables and plots call it. */
  readonly label: string;
  /** fio's name for it. */
  readonly kind: "write" | "randwrite" | "read" | "randread";
  readonly blockSize: number;
  /** Requests in one round. */
  readonly count: number;
  /** Where in the round's part of the disk, and how much of it. */
  readonly offset: number;
  readonly length: number;
  /** A flush after each write; otherwise one at the end. */
  readonly flushes: boolean;
}

const sequential = { blockSize: 64 * KiB } as const;
const random = { blockSize: 4 * KiB } as const;
const places = {
  sequential: { offset: 0, length: 16 * MiB },
  sequentialFlush: { offset: 16 * MiB, length: 4 * MiB },
  random: { offset: 20 * MiB, length: 32 * MiB },
  randomFlush: { offset: 52 * MiB, length: 12 * MiB },
} as const;

/** In this order in each round: what is written again or read has been written before in the same round. */
export const guestWorkloads: readonly GuestWorkload[] = [
  {
    id: "first-sequential",
    label: "First write, 64 KiB in sequence",
    kind: "write",
    ...sequential,
    count: 256,
    ...places.sequential,
    flushes: false,
  },
  {
    id: "first-sequential-flush",
    label: "First write, 64 KiB in sequence, each flushed",
    kind: "write",
    ...sequential,
    count: 64,
    ...places.sequentialFlush,
    flushes: true,
  },
  {
    id: "first-random",
    label: "First write, 4 KiB at random",
    kind: "randwrite",
    ...random,
    count: 256,
    ...places.random,
    flushes: false,
  },
  {
    id: "first-random-flush",
    label: "First write, 4 KiB at random, each flushed",
    kind: "randwrite",
    ...random,
    count: 64,
    ...places.randomFlush,
    flushes: true,
  },
  {
    id: "again-random",
    label: "Writing again, 4 KiB at random",
    kind: "randwrite",
    ...random,
    count: 256,
    ...places.random,
    flushes: false,
  },
  {
    id: "again-random-flush",
    label: "Writing again, 4 KiB at random, each flushed",
    kind: "randwrite",
    ...random,
    count: 64,
    ...places.randomFlush,
    flushes: true,
  },
  {
    id: "read-sequential",
    label: "Reading, 64 KiB in sequence",
    kind: "read",
    ...sequential,
    count: 256,
    ...places.sequential,
    flushes: false,
  },
  {
    id: "read-random",
    label: "Reading, 4 KiB at random",
    kind: "randread",
    ...random,
    count: 256,
    ...places.random,
    flushes: false,
  },
];

/** What one round takes of a disk: each has a part of its own, so that first writes are first ones. */
export const bytesPerRound = 64 * MiB;

/** fio's job file for one round on one disk of the guest. */
export function jobFile(device: string, round: number): string {
  const head = ["[global]", `filename=${device}`, "direct=1", "ioengine=psync", "thread=1"];
  // The same places for every image, and for writing again; others in each round.
  const seeds = [`randseed=${1000 + round}`, "stonewall", "refill_buffers=0"];
  const jobs = guestWorkloads.flatMap((workload) => [
    "",
    `[${workload.id}]`,
    `rw=${workload.kind}`,
    `bs=${workload.blockSize}`,
    `offset=${round * bytesPerRound + workload.offset}`,
    `size=${workload.length}`,
    `io_size=${workload.count * workload.blockSize}`,
    ...(workload.kind.endsWith("write") ? [workload.flushes ? "fsync=1" : "end_fsync=1"] : []),
  ]);
  return `${[...head, ...seeds, ...jobs].join("\n")}\n`;
}

/** Fields of fio's terse output, version 3, from 0 (fio's HOWTO, "Terse output"). */
const field = { version: 0, job: 2, error: 4, read: 5, write: 46 } as const;
/** Behind {@link field}'s `read` and `write`: KiB moved, KiB a second, requests a second, milliseconds. */
const moved = 0;
const runtime = 3;

/**
 * Milliseconds that each workload took, from fio's terse output.
 *
 * @throws `E_EXTERNAL` for what is no such output, or where a job failed or did less than it should
 */
export function readTerse(text: string): Record<string, number> {
  const times: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const fields = line.trim().split(";");
    if (fields[field.version] !== "3") continue;
    const workload = guestWorkloads.find(({ id }) => id === fields[field.job]);
    if (workload === undefined) continue;
    const start = workload.kind.endsWith("read") ? field.read : field.write;
    const kibibytes = Number(fields[start + moved]);
    const milliseconds = Number(fields[start + runtime]);
    const wanted = (workload.count * workload.blockSize) / KiB;
    if (fields[field.error] !== "0" || kibibytes !== wanted || !Number.isFinite(milliseconds)) {
      throw failed(`${workload.id}: ${line.trim().slice(0, 200)}`);
    }
    // Of something so short that fio calls it nothing, a millisecond is as much as can be said.
    times[workload.id] = Math.max(1, milliseconds);
  }
  const absent = guestWorkloads.find(({ id }) => !(id in times));
  if (absent !== undefined) {
    const said = text.trim().split("\n").at(-1) ?? "";
    throw failed(`nothing about ${absent.id}; the last line is "${said.slice(0, 200)}"`);
  }
  return times;
}

const failed = (what: string): PlatterError =>
  new PlatterError("E_EXTERNAL", `fio in the guest failed: ${what}`, { value: what });
