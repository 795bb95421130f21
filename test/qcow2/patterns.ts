/** Sequences of requests that qemu-io and we carry out on an image, and what it holds afterwards. */
import { expect } from "vitest";
import { MemoryStorage, open, type Disk } from "../../src/index.ts";
import type { Peer } from "../peers.ts";
import { generator } from "./kit.ts";

/** A request. `zero` may unmap; `discard` and `packed` cover whole clusters. */
export interface Step {
  readonly kind: "write" | "packed" | "zero" | "unmap" | "discard";
  readonly at: number;
  readonly length: number;
  /** The byte that a write fills its range with. */
  readonly pattern: number;
}

/** What steps are made for. */
export interface Ground {
  readonly clusterSize: number;
  /** Bytes of an L2 entry: 16 when it is extended. */
  readonly entrySize?: 8 | 16;
  readonly size: number;
  readonly version: 2 | 3;
  readonly kinds: ReadonlyArray<Step["kind"]>;
  readonly count: number;
  readonly seed: number;
}

const sector = 512;

/** Steps around the beginning of the disk, the first L2 table's end, and the end of the disk. */
export function makeSteps(ground: Ground): Step[] {
  const { clusterSize, entrySize = 8, size, kinds, count, seed } = ground;
  const next = generator(seed);
  const span = (clusterSize * clusterSize) / entrySize;
  const clusters = Math.floor(size / clusterSize);
  const centres = [4, Math.min(span / clusterSize, clusters - 4), clusters - 4];
  // Compressed clusters cannot replace others in QEMU: they get places that nothing has had.
  const touched = new Set<number>();
  const steps: Step[] = [];
  while (steps.length < count) {
    const wished = kinds[next(kinds.length)]!;
    const first = Math.max(0, centres[next(centres.length)]! - 4 + next(8));
    const whole = wished === "packed" || wished === "discard";
    const longest = wished === "packed" ? 1 : 3;
    const at = first * clusterSize + (whole ? 0 : sector * next(clusterSize / sector));
    const wanted = whole
      ? clusterSize * (1 + next(longest))
      : sector * (1 + next((clusterSize / sector) * longest));
    const length = Math.min(wanted, (whole ? clusters * clusterSize : size) - at);
    if (length <= 0) continue;
    const last = Math.floor((at + length - 1) / clusterSize);
    const range = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const taken = range.some((cluster) => touched.has(cluster));
    const kind = wished === "packed" && taken ? "write" : wished;
    for (const cluster of range) touched.add(cluster);
    steps.push({ kind, at, length, pattern: 1 + next(255) });
  }
  return steps;
}

/** qemu-io's word for a step. */
const words = {
  write: "write",
  packed: "write -c",
  zero: "write -z",
  unmap: "write -z -u",
  discard: "discard",
} as const satisfies Record<Step["kind"], string>;

/** A step as qemu-io takes it. */
export function command({ kind, at, length, pattern }: Step): string {
  const filled = kind === "write" || kind === "packed" ? `-P ${pattern} ` : "";
  return `${words[kind]} ${filled}${at} ${length}`;
}

/**
 * The same steps with the packed ones first. QEMU 7.2 goes on packing into a host cluster that has been
 * freed and given to somebody else meanwhile, and so destroys data; its own check then finds errors.
 */
export const packedFirst = (steps: readonly Step[]): Step[] =>
  steps.toSorted((a, b) => Number(b.kind === "packed") - Number(a.kind === "packed"));

/** Lets qemu-io carry out the steps in one session. */
export async function theirSteps(
  qemuIo: Peer,
  image: string,
  steps: readonly Step[],
): Promise<void> {
  const args = steps.flatMap((step) => ["-c", command(step)]);
  const { stdout } = await qemuIo.run(["-f", "qcow2", ...args, image]);
  expect(stdout).not.toMatch(/failed|error/i);
}

/** Carries out the steps ourselves. */
export async function ourSteps(image: string, steps: readonly Step[]): Promise<void> {
  await using disk = await open(image, { writable: true, references: "follow" });
  for (const step of steps) await carryOut(disk, step);
}

/** Carries out one step ourselves. */
export async function carryOut(disk: Disk, { kind, at, length, pattern }: Step): Promise<void> {
  const bytes = (): Uint8Array => new Uint8Array(length).fill(pattern);
  if (kind === "write") await disk.write(at, bytes());
  else if (kind === "packed") await disk.writeCompressed(at, bytes());
  else if (kind === "discard") await disk.discard(at, length);
  else await disk.writeZeroes(at, length, { unmap: kind === "unmap" });
}

/** What the disk holds after the steps. Discarded clusters are zeros: there is no backing image. */
export async function model(size: number, steps: readonly Step[]): Promise<MemoryStorage> {
  const storage = new MemoryStorage({ name: "model", size });
  for (const { kind, at, length, pattern } of steps) {
    if (kind === "write" || kind === "packed") {
      storage.writeSync(at, new Uint8Array(length).fill(pattern));
    } else await storage.zero(at, length, { unmap: true });
  }
  return storage;
}

/** The image, read by us, holds what the model holds. Where both are known to be zeros is not read. */
export async function expectHolds(image: string, expected: MemoryStorage): Promise<void> {
  await using disk = await open(image, { references: "follow" });
  expect(disk.size).toBe(expected.size);
  for await (const { start, length, zero } of disk.extents({ holes: true })) {
    for (let at = start; at < start + length;) {
      const known = expected.extent(at);
      const end = Math.min(start + length, known.end);
      if (zero && !known.data) {
        at = end;
        continue;
      }
      const piece = Math.min(end - at, 1024 * 1024);
      const actual = new Uint8Array(piece);
      await disk.read(at, actual);
      const same = Buffer.compare(actual, expected.slice(at, at + piece)) === 0;
      expect(same, `guest bytes ${at} to ${at + piece}`).toBe(true);
      at += piece;
    }
  }
}

/** `qemu-io read -P` for each run of equal bytes of the model around what the steps touched. */
export async function expectTheyRead(
  qemuIo: Peer,
  image: string,
  expected: MemoryStorage,
  steps: readonly Step[],
): Promise<void> {
  const args: string[] = [];
  for (const { at, length } of steps) {
    const bytes = expected.slice(at, at + length);
    for (let from = 0; from < bytes.length;) {
      let to = from + sector;
      while (to < bytes.length && bytes[to] === bytes[from]) to += sector;
      args.push("-c", `read -P ${bytes[from]} ${at + from} ${Math.min(to, bytes.length) - from}`);
      from = to;
    }
  }
  const { stdout } = await qemuIo.run(["-r", "-f", "qcow2", ...args, image]);
  expect(stdout).not.toMatch(/failed|error/i);
}
