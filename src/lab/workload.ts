import { open as openFile } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import { openDisk } from "../formats/index.ts";
import type { CommandContext } from "../commands/index.ts";
import { throwIfAborted } from "../errors.ts";
import { candidates, makeImage, type Candidate } from "./images.ts";
import { randomFrom } from "./statistics.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** One kind of writing. */
export interface Workload {
  readonly id: "first-sequential" | "first-random" | "again-sequential" | "again-random";
  /** As plots and tables call it. */
  readonly label: string;
  readonly blockSize: number;
  /** Requests in one round. */
  readonly count: number;
  /** Requests between two flushes. */
  readonly flushEvery: number;
  /** The requests go where something has been written already. */
  readonly isRewrite: boolean;
}

const sequential = { blockSize: 64 * KiB, count: 128, flushEvery: 32 };
const random = { blockSize: 4 * KiB, count: 128, flushEvery: 8 };

/** What is measured, in this order on each fresh image. */
export const workloads: readonly Workload[] = [
  {
    id: "first-sequential",
    label: "First write, 64 KiB in sequence",
    ...sequential,
    isRewrite: false,
  },
  { id: "first-random", label: "First write, 4 KiB at random", ...random, isRewrite: false },
  {
    id: "again-sequential",
    label: "Writing again, 64 KiB in sequence",
    ...sequential,
    isRewrite: true,
  },
  { id: "again-random", label: "Writing again, 4 KiB at random", ...random, isRewrite: true },
];

/** The disk that is written to: the first quarter in sequence, the rest at random. */
export const workloadDiskSize = 64 * MiB;

/** Milliseconds by candidate, then by workload, one number a round. */
export type Times = Readonly<Record<string, Readonly<Record<Workload["id"], readonly number[]>>>>;

/**
 * Measures writing to a fresh image of each kind through Platter's own driver, in `rounds` rounds.
 * The order of the images is another one in each round, so that none of them always comes first.
 */
export async function measureWrites(
  file: (candidate: Candidate) => string,
  rounds: number,
  context: CommandContext,
  onShare: (share: number) => void,
): Promise<Times> {
  const times: Record<string, Record<Workload["id"], number[]>> = {};
  for (const { label } of candidates) {
    times[label] = {
      "first-sequential": [],
      "first-random": [],
      "again-sequential": [],
      "again-random": [],
    };
  }
  let done = 0;
  for (let round = 0; round < rounds; round++) {
    for (const candidate of rotated(candidates, round)) {
      const measured = await measureImage(candidate, file(candidate), context);
      for (const { id } of workloads) times[candidate.label]![id].push(measured[id]);
      onShare(++done / (rounds * candidates.length));
    }
  }
  return times;
}

/** Every image comes first once, and every second round goes backwards. */
export function rotated<Item>(items: readonly Item[], round: number): Item[] {
  const start = (round * 3) % items.length;
  const turned = [...items.slice(start), ...items.slice(0, start)];
  return round % 2 === 0 ? turned : turned.toReversed();
}

async function measureImage(
  candidate: Candidate,
  name: string,
  context: CommandContext,
): Promise<Record<Workload["id"], number>> {
  await makeImage(candidate, name, workloadDiskSize, context);
  // What making the image left to be written would otherwise be written on the first one's time.
  await sync(name);
  const storage = await context.provider.open(name, { writable: true });
  const disk = await openDisk(storage, {
    writable: true,
    format: candidate.format,
    codecs: context.codecs,
  });
  const result: Partial<Record<Workload["id"], number>> = {};
  try {
    for (const workload of workloads) {
      throwIfAborted(context.signal);
      const block = new Uint8Array(workload.blockSize).fill(workload.isRewrite ? 0xb2 : 0xa1);
      const offsets = offsetsOf(workload);
      const start = performance.now();
      for (const [index, offset] of offsets.entries()) {
        await disk.write(offset, block);
        if ((index + 1) % workload.flushEvery === 0) await disk.flush();
      }
      result[workload.id] = performance.now() - start;
    }
  } finally {
    await disk.close();
  }
  return result as Record<Workload["id"], number>;
}

/** Where the requests go: the same places for every image, and for writing again. */
export function offsetsOf({ id, blockSize, count }: Workload): number[] {
  if (id.endsWith("sequential")) return Array.from({ length: count }, (_, i) => i * blockSize);
  const start = workloadDiskSize / 4;
  const next = randomFrom((workloadDiskSize - start) / blockSize, 7);
  const blocks = new Set<number>();
  while (blocks.size < count) blocks.add(next());
  return [...blocks].map((block) => start + block * blockSize);
}

/** Has a file written to its disk. */
export async function sync(name: string): Promise<void> {
  const handle = await openFile(name, "r+");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
