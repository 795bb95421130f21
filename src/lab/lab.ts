import { mkdir, mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { formatSize } from "../bytes/index.ts";
import {
  compare,
  convert,
  du,
  explain,
  type CommandContext,
  type DuResult,
} from "../commands/index.ts";
import { PlatterError, throwIfAborted } from "../errors.ts";
import { openDisk } from "../formats/index.ts";
import { conclude } from "./conclusions.ts";
import { describeMachine } from "./environment.ts";
import { candidates, makeImage, reservedDisks, type Candidate } from "./images.ts";
import { evaluateWrites, type Creation, type LabReport, type Picture } from "./report.ts";
import { reportPage } from "./report-page.ts";
import { summarize } from "./statistics.ts";
import { fillDisk } from "./tree.ts";
import { measureWrites, rotated, sync, workloadDiskSize } from "./workload.ts";

/** What the lab does. */
export interface LabOptions {
  /** Where it works and leaves its report; made if it is not there. */
  readonly directory: string;
  /** Size of the disks in bytes, a multiple of 1 MiB from 16 MiB up. */
  readonly size: number;
  /** How often writing is measured on each image. */
  readonly rounds: number;
  /** Where real files are taken from; found when absent. */
  readonly tree?: string | undefined;
  /** Leave the images there. */
  readonly keep?: boolean | undefined;
}

/** A chapter of the story, as soon as it is known. */
export type LabEvent =
  | { readonly kind: "created"; readonly creation: readonly Creation[]; readonly usage: DuResult }
  | { readonly kind: "filled"; readonly filled: LabReport["filled"] }
  | { readonly kind: "converted"; readonly usage: DuResult };

/** Where the report was left. */
export interface LabResult {
  readonly report: LabReport;
  readonly json: string;
  readonly html: string;
  /** The directory with the images, if they were kept. */
  readonly images: string | undefined;
}

const MiB = 2 ** 20;
const creationRounds = 3;
const pictureCells = 240;
/** Shares of the whole that the chapters take, for the progress display. */
const chapters = {
  create: { share: 250, step: "making images" },
  fill: { share: 250, step: "putting files on them" },
  convert: { share: 50, step: "converting" },
  measure: { share: 450, step: "measuring writes" },
} as const;

/**
 * Tells the preallocation story on this machine: makes the seven images, measures them, puts real
 * files on them, converts one, measures again, writes to fresh ones, and leaves a report. Everything
 * it makes besides the report is removed, also when it fails or is cancelled.
 *
 * Throws `E_NO_SPACE` before anything is made when the directory has too little space, and what the
 * commands throw.
 */
export async function lab(
  options: LabOptions,
  context: CommandContext,
  onEvent: (event: LabEvent) => void = () => {},
): Promise<LabResult> {
  checkOptions(options);
  const directory = resolve(options.directory);
  await mkdir(directory, { recursive: true });
  await requireSpace(directory, options.size);
  const work = await mkdtemp(join(directory, "images-"));
  try {
    const report = await tell(options, work, context, onEvent);
    const json = join(directory, "report.json");
    const html = join(directory, "report.html");
    await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
    await writeFile(html, reportPage(report));
    return { report, json, html, images: options.keep === true ? work : undefined };
  } finally {
    if (options.keep !== true) await rm(work, { recursive: true, force: true });
  }
}

function checkOptions({ size, rounds }: LabOptions): void {
  if (!Number.isSafeInteger(size) || size < 16 * MiB || size % MiB !== 0) {
    throw new PlatterError(
      "E_INVALID_SIZE",
      `The lab's disks cannot have ${size} bytes: give a multiple of 1 MiB, from 16M up.`,
      { field: "size", value: size },
    );
  }
  if (!Number.isSafeInteger(rounds) || rounds < 1 || rounds > 1000) {
    throw new PlatterError("E_INVALID_ARGUMENT", `The lab cannot do ${rounds} rounds: 1 to 1000.`, {
      field: "rounds",
      value: rounds,
    });
  }
}

/** Bytes that the lab takes at most while it runs. */
export function spaceNeeded(size: number): number {
  const sparse = candidates.length - reservedDisks;
  // The copied tree, the disk made of it, its copies on sparse images, and the converted one.
  const files = treeBudget(size) * (sparse + 3);
  return reservedDisks * size + files + workloadDiskSize + 32 * MiB;
}

const treeBudget = (size: number): number => size / 4;

async function requireSpace(directory: string, size: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const needed = spaceNeeded(size);
  const free = bavail * bsize;
  if (free >= needed) return;
  throw new PlatterError(
    "E_NO_SPACE",
    `${directory}: the lab needs ${formatSize(needed)} and there is ${formatSize(free)}; ` +
      `name another directory, or smaller disks with --size`,
    { file: directory, value: free },
  );
}

async function tell(
  options: LabOptions,
  work: string,
  context: CommandContext,
  onEvent: (event: LabEvent) => void,
): Promise<LabReport> {
  const { size, rounds } = options;
  const progress = chapterProgress(context);
  const file = (candidate: Candidate): string => join(work, candidate.file);
  const names = candidates.map(file);

  const creation = await measureCreation(file, size, context, (share) => progress("create", share));
  const empty = await du({ names }, quiet(context));
  onEvent({ kind: "created", creation, usage: inDirectory(empty) });

  const model = join(work, "model.img");
  const made = await fillDisk(model, size, treeBudget(size), {
    directory: work,
    source: options.tree,
    signal: context.signal,
  });
  await rm(join(work, "tree"), { recursive: true, force: true });
  const times: Array<{ label: string; milliseconds: number }> = [];
  for (const [index, candidate] of candidates.entries()) {
    const start = performance.now();
    await copyOnto(model, candidate, file(candidate), context);
    times.push({ label: candidate.label, milliseconds: performance.now() - start });
    progress("fill", (index + 1) / candidates.length);
  }
  const filled = { ...made, times };
  onEvent({ kind: "filled", filled });

  const raw = file(candidates[0]!);
  const converted = join(work, "converted.qcow2");
  const start = performance.now();
  await convert(
    { sources: [raw], target: converted, targetFormat: "qcow2", sync: true },
    quiet(context),
  );
  const conversion = {
    from: "raw off",
    to: "converted",
    milliseconds: performance.now() - start,
    identical: (await compare({ first: raw, second: converted }, quiet(context))).identical,
  };
  await rm(model, { force: true });
  progress("convert", 1);
  const written = await du({ names: [...names, converted], scan: true }, quiet(context));
  const pictures = await takePictures([...names, converted], context);
  onEvent({ kind: "converted", usage: inDirectory(written) });

  const probe = (candidate: Candidate): string => join(work, `write-${candidate.file}`);
  const measured = await measureWrites(probe, rounds, quiet(context), (share) =>
    progress("measure", share),
  );
  const report = {
    report: "platter lab",
    version: 1,
    environment: await describeMachine(work, empty.volumes[0]?.filesystem),
    diskSize: size,
    creation,
    empty: inDirectory(empty),
    filled,
    conversion,
    written: inDirectory(written),
    pictures,
    writes: evaluateWrites(measured, workloadDiskSize),
  } as const;
  return { ...report, conclusions: conclude(report) };
}

/** One bar for all chapters. */
function chapterProgress({
  onProgress,
}: CommandContext): (chapter: keyof typeof chapters, share: number) => void {
  const names = Object.keys(chapters) as Array<keyof typeof chapters>;
  return (chapter, share) => {
    const before = names.slice(0, names.indexOf(chapter));
    const done = before.reduce((sum, name) => sum + chapters[name].share, 0);
    const { share: whole, step } = chapters[chapter];
    onProgress?.({ done: done + Math.round(whole * share), total: 1000, step });
  };
}

/** The single commands do not report their own progress. */
const quiet = (context: CommandContext): CommandContext => ({ ...context, onProgress: undefined });

/** Names without the working directory, which nobody needs to know afterwards. */
function inDirectory(usage: DuResult): DuResult {
  return {
    images: usage.images.map((image) => ({ ...image, filename: basename(image.filename) })),
    volumes: usage.volumes.map((volume) => ({
      ...volume,
      filenames: volume.filenames.map((name) => basename(name)),
    })),
  };
}

/** Makes each image several times, in another order each time; the last ones stay. */
async function measureCreation(
  file: (candidate: Candidate) => string,
  size: number,
  context: CommandContext,
  onShare: (share: number) => void,
): Promise<Creation[]> {
  const times = new Map<string, number[]>(candidates.map(({ label }) => [label, []]));
  let made = 0;
  for (let round = 0; round < creationRounds; round++) {
    for (const candidate of rotated(candidates, round)) {
      throwIfAborted(context.signal);
      const name = file(candidate);
      await rm(name, { force: true });
      const start = performance.now();
      await makeImage(candidate, name, size, quiet(context));
      await sync(name);
      times.get(candidate.label)!.push(performance.now() - start);
      onShare(++made / (creationRounds * candidates.length));
    }
  }
  return [...times].map(([label, values]) => ({
    label,
    times: values,
    summary: summarize(values),
  }));
}

/** Writes what is on one raw disk to an image, as a guest would: only what is there. */
async function copyOnto(
  model: string,
  { format }: Candidate,
  name: string,
  { provider, codecs, signal }: CommandContext,
): Promise<void> {
  const source = await openDisk(await provider.open(model, { writable: false }), { format: "raw" });
  try {
    const storage = await provider.open(name, { writable: true });
    const target = await openDisk(storage, { writable: true, format, codecs });
    try {
      const buffer = new Uint8Array(MiB);
      for await (const { start, length, zero } of source.extents({ signal })) {
        if (zero) continue;
        for (let at = start; at < start + length; at += buffer.length) {
          throwIfAborted(signal);
          const piece = buffer.subarray(0, Math.min(buffer.length, start + length - at));
          await source.read(at, piece);
          await target.write(at, piece);
        }
      }
      await target.flush();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function takePictures(names: readonly string[], context: CommandContext): Promise<Picture[]> {
  const pictures: Picture[] = [];
  for (const name of names) {
    const { fileStrip } = await explain({ name, width: pictureCells }, quiet(context));
    const label = candidates.find((candidate) => candidate.file === basename(name))?.label;
    pictures.push({ label: label ?? "converted", strip: fileStrip });
  }
  return pictures;
}
