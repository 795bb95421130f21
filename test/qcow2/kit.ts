/** What the tests beside it share: option sets, file comparison, and qemu-img's own words as data. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import {
  check,
  fileProvider,
  map,
  PlatterError,
  type FormatOptionValues,
  type Storage,
} from "../../src/index.ts";
import type { Peer } from "../peers.ts";

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

/** Every cluster size of qcow2. */
export const clusterSizes = Array.from({ length: 13 }, (_, i) => 512 * 2 ** i);

/** The smallest clusters that may have extended L2 entries: 32 sectors. */
export const minExtendedCluster = 16 * KiB;

/** Every version and refcount width that QEMU allows together. */
export const layouts: ReadonlyArray<{ readonly compat: "0.10" | "1.1"; readonly bits: number }> = [
  { compat: "0.10", bits: 16 },
  ...[1, 2, 4, 8, 16, 32, 64].map((bits) => ({ compat: "1.1" as const, bits })),
];

export const preallocations = ["off", "metadata", "falloc", "full"] as const;
export type PreallocationName = (typeof preallocations)[number];

/** A directory that is gone after the tests of the file or suite; not to be called in a test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "platter-cross-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Creation options as `qemu-img -o` takes them. */
export function optionString(values: FormatOptionValues): string {
  return Object.entries(values)
    .map(
      ([name, value]) => `${name}=${typeof value === "boolean" ? (value ? "on" : "off") : value}`,
    )
    .join(",");
}

type Axes = Readonly<Record<string, readonly unknown[]>>;
type Row<A extends Axes> = { readonly [K in keyof A]: A[K][number] };

/** All combinations. */
export function product<const A extends Axes>(axes: A): Array<Row<A>> {
  let rows: Array<Record<string, unknown>> = [{}];
  for (const [name, values] of Object.entries(axes)) {
    rows = rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value })));
  }
  return rows as Array<Row<A>>;
}

/** Few combinations in which each value of each axis meets each value of every other axis. */
export function pairwise<const A extends Axes>(axes: A): Array<Row<A>> {
  const names = Object.keys(axes);
  const sizes = names.map((name) => axes[name]!.length);
  const key = (a: number, i: number, b: number, j: number): string =>
    a < b ? `${a}.${i}/${b}.${j}` : `${b}.${j}/${a}.${i}`;
  const open = new Set<string>();
  for (let a = 0; a < names.length; a++) {
    for (let b = a + 1; b < names.length; b++) {
      for (let i = 0; i < sizes[a]!; i++) {
        for (let j = 0; j < sizes[b]!; j++) open.add(key(a, i, b, j));
      }
    }
  }
  const rows: Array<Record<string, unknown>> = [];
  while (open.size > 0) {
    const [seed] = open;
    const chosen = new Map(
      seed!.split("/").map((part) => part.split(".").map(Number) as [number, number]),
    );
    for (let axis = 0; axis < names.length; axis++) {
      if (chosen.has(axis)) continue;
      // Starts somewhere else for each row, so that ties do not always go to the first value.
      const candidates = Array.from(
        { length: sizes[axis]! },
        (_, i) => (i + rows.length) % sizes[axis]!,
      );
      const gain = (value: number): number =>
        [...chosen].filter(([other, picked]) => open.has(key(axis, value, other, picked))).length;
      chosen.set(
        axis,
        candidates.reduce((best, value) => (gain(value) > gain(best) ? value : best)),
      );
    }
    for (const [a, i] of chosen)
      for (const [b, j] of chosen) if (a < b) open.delete(key(a, i, b, j));
    rows.push(
      Object.fromEntries(names.map((name, axis) => [name, axes[name]![chosen.get(axis)!]])),
    );
  }
  return rows as Array<Row<A>>;
}

const files = fileProvider();

/** What distinguishes two files, or undefined if nothing does. Holes are not read. */
export async function fileDifference(ours: string, theirs: string): Promise<string | undefined> {
  const a = await files.open(ours, { writable: false, lock: "none" });
  const b = await files.open(theirs, { writable: false, lock: "none" });
  try {
    if (a.size !== b.size) return `length ${a.size}, not ${b.size}`;
    return await contentDifference(a, b);
  } finally {
    await a.close();
    await b.close();
  }
}

async function contentDifference(a: Storage, b: Storage): Promise<string | undefined> {
  const one = new Uint8Array(MiB);
  const two = new Uint8Array(MiB);
  for (let at = 0; at < a.size;) {
    const [inA, inB] = [a.extent?.(at), b.extent?.(at)];
    const end = Math.min(a.size, inA?.end ?? Infinity, inB?.end ?? Infinity);
    if (inA?.data === false && inB?.data === false) {
      at = end;
      continue;
    }
    const length = Math.min(MiB, end - at);
    const left = one.subarray(0, length);
    const right = two.subarray(0, length);
    await a.read(at, left);
    await b.read(at, right);
    if (Buffer.compare(left, right) !== 0) {
      const first = left.findIndex((byte, i) => byte !== right[i]);
      return `byte ${at + first} is ${left[first]}, not ${right[first]}`;
    }
    at += length;
  }
  return undefined;
}

/** Bytes that the host has allocated for a file. */
export const allocated = (file: string): number => statSync(file).blocks * 512;

/** The error that `action` rejects with, which has to be one of ours. */
export async function errorOf(action: Promise<unknown>): Promise<PlatterError> {
  const error: unknown = await action.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PlatterError);
  return error as PlatterError;
}

/** `qemu-img check --output=json`, reduced to what both sides count. */
async function theirCheck(qemuImg: Peer, image: string): Promise<Counts> {
  const { stdout } = await qemuImg.attempt(["check", "--output=json", image]);
  const found = JSON.parse(stdout) as Record<string, number>;
  const count = (name: string): number => found[name] ?? 0;
  return {
    errors: count("check-errors"),
    corruptions: count("corruptions"),
    leaks: count("leaks"),
    total: count("total-clusters"),
    allocated: count("allocated-clusters"),
    fragmented: count("fragmented-clusters"),
    compressed: count("compressed-clusters"),
    end: count("image-end-offset"),
  };
}

/** What a check counts. */
export interface Counts {
  readonly errors: number;
  readonly corruptions: number;
  readonly leaks: number;
  readonly total: number;
  readonly allocated: number;
  readonly fragmented: number;
  readonly compressed: number;
  readonly end: number;
}

/** Our check, in the same words as {@link theirCheck}. */
export async function ourCheck(image: string): Promise<Counts> {
  const found = await check({ name: image });
  return {
    errors: found.checkErrors,
    corruptions: found.corruptions,
    leaks: found.leaks,
    total: found.totalClusters,
    allocated: found.allocatedClusters,
    fragmented: found.fragmentedClusters,
    compressed: found.compressedClusters,
    end: found.imageEndOffset,
  };
}

/** One entry of `qemu-img map --output=json`. */
export interface MapLine {
  readonly start: number;
  readonly length: number;
  readonly depth: number;
  readonly present: boolean;
  readonly zero: boolean;
  readonly data: boolean;
  readonly offset?: number;
}

export async function theirMap(
  qemuImg: Peer,
  image: string,
  ...args: readonly string[]
): Promise<MapLine[]> {
  const { stdout } = await qemuImg.run(["map", "--output=json", ...args, image]);
  return JSON.parse(stdout) as MapLine[];
}

export async function ourMap(image: string, format?: string): Promise<MapLine[]> {
  const lines: MapLine[] = [];
  for await (const entry of map({ name: image, format })) {
    const { start, length, depth, present, zero, data, offset } = entry;
    lines.push({
      start,
      length,
      depth,
      present,
      zero,
      data,
      ...(offset !== undefined && { offset }),
    });
  }
  return lines;
}

/** Our map and check say what qemu-img's say, and there is nothing wrong with the image. */
export async function expectSameView(qemuImg: Peer, image: string): Promise<void> {
  const counts = await theirCheck(qemuImg, image);
  expect(counts).toMatchObject({ errors: 0, corruptions: 0, leaks: 0 });
  expect(await ourCheck(image)).toEqual(counts);
  expect(await ourMap(image)).toEqual(await theirMap(qemuImg, image));
}

/** Numbers that look random and are the same every time (mulberry32). */
export function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Bytes that do not compress. */
export function noise(length: number, seed = 1): Uint8Array {
  const next = generator(seed);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = next(256);
  return bytes;
}
