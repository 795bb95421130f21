/** `lab --guest`: what preallocation does for a guest, measured in one. */
import { mkdir, mkdtemp, rm, stat, statfs, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { formatSize } from "../bytes/index.ts";
import type { CommandContext } from "../commands/index.ts";
import { PlatterError, throwIfAborted } from "../errors.ts";
import { probeAcceleration, QEMU, type Acceleration } from "../vm/index.ts";
import { describeMachine } from "./environment.ts";
import { concludeGuest } from "./guest-conclusions.ts";
import { guestCandidates, makeBase, makeGuestImage, type GuestCandidate } from "./guest-images.ts";
import { guestPage } from "./guest-page.ts";
import type { GuestCost, GuestLabReport, GuestMeasure } from "./guest-report.ts";
import { runGuest, type GuestImage } from "./guest-run.ts";
import { guestSystem, systemName, type GuestSystem } from "./guest-system.ts";
import { bytesPerRound, guestWorkloads, readTerse } from "./guest-workloads.ts";
import { compareTimes, summarize } from "./statistics.ts";
import { rotated, sync } from "./workload.ts";

/** What `lab --guest` does. */
export interface GuestLabOptions {
  /** Where it works and leaves its report; made if it is not there. */
  readonly directory: string;
  /** Few ways of making images and one cache mode, for an answer in two minutes. */
  readonly quick: boolean;
  /** How often each is measured. */
  readonly rounds: number;
  /** Labels of the candidates to measure, and those they are compared with; all if absent. */
  readonly only?: readonly string[] | undefined;
  /** A kernel and an initrd instead of Debian's. */
  readonly kernel?: string | undefined;
  readonly initrd?: string | undefined;
}

/** Where the report was left. */
export interface GuestLabResult {
  readonly report: GuestLabReport;
  readonly json: string;
  readonly html: string;
}

const MiB = 2 ** 20;
const caches = ["none", "writeback"] as const;

/**
 * Measures in a guest, round by round, and leaves a report. Everything else that it makes is removed, also when
 * it fails or is cancelled, and no QEMU is left.
 *
 * @throws `E_NO_SPACE` before anything is made, `E_NOT_FOUND` without QEMU or the guest's system, and what
 * running a guest throws
 */
export async function guestLab(
  options: GuestLabOptions,
  context: CommandContext,
  onNote: (text: string) => void = () => {},
): Promise<GuestLabResult> {
  const { rounds, quick } = options;
  if (!Number.isSafeInteger(rounds) || rounds < 1 || rounds > 64) {
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `The guest's lab cannot do ${rounds} rounds: 1 to 64.`,
      {
        field: "rounds",
        value: rounds,
      },
    );
  }
  const { signal, onProgress } = context;
  const candidates = chosen(options);
  const modes = quick ? caches.slice(0, 1) : caches;
  const size = rounds * bytesPerRound;
  const directory = resolve(options.directory);
  await mkdir(directory, { recursive: true });
  await requireSpace(directory, candidates, size);
  const acceleration = await probeAcceleration({ qemu: QEMU, signal });
  if (acceleration.kind === "tcg")
    onNote(`The guest runs in emulation (TCG): ${acceleration.reason}.`);
  const system = await guestSystem({
    ...options,
    signal,
    onFetch: () => onNote("The guest's kernel and programs are fetched once (apt-get download)."),
  });
  const work = await mkdtemp(join(directory, "guest-"));
  const began = performance.now();
  try {
    if (candidates.some(({ overlay }) => overlay === true)) {
      onProgress?.({ done: 0, total: 1000, step: "writing the image below" });
      await makeBase(work, size, quiet(context));
    }
    const measures: GuestMeasure[] = [];
    for (const [index, cache] of modes.entries()) {
      throwIfAborted(signal);
      const progress = (share: number): void =>
        onProgress?.({
          done: Math.round(((index + share) / modes.length) * 1000),
          total: 1000,
          step: `in the guest, cache=${cache}`,
        });
      const given = { candidates, cache, size, rounds, work, acceleration, system };
      measures.push(await measure(given, context, progress));
    }
    const report = {
      report: "platter lab --guest",
      version: 1,
      environment: await describeMachine(work, await filesystemOf(work, context)),
      guest: {
        acceleration: acceleration.kind,
        ...(acceleration.kind === "tcg" && { reason: acceleration.reason }),
        system: await systemName(system),
      },
      rounds,
      diskSize: size,
      seconds: Math.round((performance.now() - began) / 1000),
      workloads: guestWorkloads,
      measures,
    } as const;
    const whole: GuestLabReport = { ...report, conclusions: concludeGuest(report) };
    const json = join(directory, "guest-report.json");
    const html = join(directory, "guest-report.html");
    await writeFile(json, `${JSON.stringify(whole, undefined, 2)}\n`);
    await writeFile(html, guestPage(whole));
    return { report: whole, json, html };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function chosen({ quick, only }: GuestLabOptions): readonly GuestCandidate[] {
  const offered = guestCandidates.filter((candidate) => !quick || candidate.quick === true);
  if (only === undefined) return offered;
  const unknown = only.find((label) => !guestCandidates.some((one) => one.label === label));
  if (unknown !== undefined) {
    const labels = guestCandidates.map(({ label }) => label).join(", ");
    throw new PlatterError(
      "E_INVALID_ARGUMENT",
      `There is no way called "${unknown}": ${labels} are.`,
      {
        field: "only",
        value: unknown,
      },
    );
  }
  const wanted = guestCandidates.filter(({ label }) => only.includes(label));
  const baselines = new Set(wanted.map(({ baseline }) => baseline));
  return guestCandidates.filter((one) => wanted.includes(one) || baselines.has(one.label));
}

async function requireSpace(
  directory: string,
  candidates: readonly GuestCandidate[],
  size: number,
): Promise<void> {
  // Each may be written in full in the end; the image below overlays is.
  const base = candidates.some(({ overlay }) => overlay === true) ? 1 : 0;
  const needed = (candidates.length + base) * size + 512 * MiB;
  const { bavail, bsize } = await statfs(directory);
  if (bavail * bsize >= needed) return;
  throw new PlatterError(
    "E_NO_SPACE",
    `${directory}: the guest's lab needs ${formatSize(needed)} and there is ${formatSize(bavail * bsize)}; ` +
      `name another directory, or fewer --rounds`,
    { file: directory, value: bavail * bsize },
  );
}

async function filesystemOf(
  directory: string,
  { provider }: CommandContext,
): Promise<string | undefined> {
  const name = join(directory, "probe");
  await writeFile(name, "");
  await using storage = await opened(provider, name);
  return (await storage.value.volume?.())?.filesystem;
}

async function opened(provider: CommandContext["provider"], name: string) {
  const value = await provider.open(name, { writable: false });
  return { value, [Symbol.asyncDispose]: () => value.close() };
}

const quiet = (context: CommandContext): CommandContext => ({ ...context, onProgress: undefined });

interface Measuring {
  readonly candidates: readonly GuestCandidate[];
  readonly cache: GuestMeasure["cache"];
  readonly size: number;
  readonly rounds: number;
  readonly work: string;
  readonly acceleration: Acceleration;
  readonly system: GuestSystem;
}

/** Makes all images anew and has one guest work on them, in another order in each round. */
async function measure(
  { candidates, cache, size, rounds, work, acceleration, system }: Measuring,
  context: CommandContext,
  progress: (share: number) => void,
): Promise<GuestMeasure> {
  const images: GuestImage[] = [];
  const costs: GuestCost[] = [];
  for (const [index, candidate] of candidates.entries()) {
    throwIfAborted(context.signal);
    const start = performance.now();
    const image = await makeGuestImage(candidate, work, size, quiet(context));
    await sync(image.path);
    const milliseconds = performance.now() - start;
    const { size: fileLength, blocks } = await stat(image.path);
    images.push(image);
    costs.push({ label: image.label, milliseconds, fileLength, allocated: blocks * 512 });
    progress((0.1 * (index + 1)) / candidates.length);
  }
  const { said, samples, processor } = await runGuest({
    system,
    acceleration,
    images,
    order: Array.from({ length: rounds }, (_, round) => rotated(images, round)),
    cache,
    directory: join(work, `run-${cache}`),
    signal: context.signal,
    onShare: (share) => progress(0.1 + 0.9 * share),
  });
  for (const { path } of images) await rm(path);
  const times = Object.fromEntries(
    images.map(({ label }) => {
      const all = said[label]!.map(readTerse);
      return [
        label,
        Object.fromEntries(guestWorkloads.map(({ id }) => [id, all.map((one) => one[id]!)])),
      ];
    }),
  );
  const comparisons = guestWorkloads.flatMap(({ id }) =>
    candidates.flatMap(({ label, baseline }) =>
      baseline === undefined || times[baseline] === undefined
        ? []
        : [
            {
              workload: id,
              baseline,
              label,
              comparison: compareTimes(times[baseline][id]!, times[label]![id]!),
            },
          ],
    ),
  );
  const summaries = Object.fromEntries(
    Object.entries(times).map(([label, byWorkload]) => [
      label,
      Object.fromEntries(Object.entries(byWorkload).map(([id, values]) => [id, summarize(values)])),
    ]),
  );
  return { cache, costs, samples, processor, times, summaries, comparisons };
}
