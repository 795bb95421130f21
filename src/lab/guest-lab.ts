/** `platter lab --guest`: what preallocation does for a guest that runs under QEMU, measured inside of it. */
import { constants } from "node:fs";
import { mkdir, mkdtemp, open, rm, stat, statfs, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { formatSize } from "../bytes/index.ts";
import { du, type CommandContext } from "../commands/index.ts";
import { PlatterError, throwIfAborted } from "../errors.ts";
import { probeAcceleration, QEMU, runProgram } from "../vm/index.ts";
import { describeMachine } from "./environment.ts";
import {
  guestCandidates,
  makeBacking,
  makeCandidate,
  quickCandidates,
  type GuestCandidate,
} from "./guest-candidates.ts";
import { concludeGuest, recommend } from "./guest-conclusions.ts";
import { guestWorkloads, quickWorkloads, type JobSize } from "./guest-job.ts";
import { guestPage } from "./guest-page.ts";
import { evaluateRounds, type GuestReport, type GuestRound } from "./guest-report.ts";
import { guestCaches, runGuest, type GuestCache } from "./guest-run.ts";
import { guestSystem, ownSystem, type GuestSystem, type OwnSystem } from "./guest-system.ts";
import { rotated } from "./workload.ts";

/** What is measured. */
export interface GuestLabOptions {
  /** Where it works and leaves its report; made if it is not there. */
  readonly directory: string;
  /** Fewer disks and workloads, and no more rounds than fit in some {@link QUICK_SECONDS}. */
  readonly quick: boolean;
  /** Bytes of each disk, a multiple of 1 MiB from 64 MiB up; chosen if not given. */
  readonly size?: number | undefined;
  /** Rounds for each cache mode; chosen if not given. */
  readonly rounds?: number | undefined;
  /** Where the guest's system is kept. */
  readonly cache: string;
  /** Used in place of that. */
  readonly system?: OwnSystem | undefined;
}

/** Where the report was left. */
export interface GuestLabResult {
  readonly report: GuestReport;
  readonly json: string;
  readonly html: string;
}

/** What shall be done, all chosen. */
interface Plan {
  readonly candidates: readonly GuestCandidate[];
  readonly size: JobSize;
  readonly caches: readonly GuestCache[];
  readonly rounds: number;
  /** No round begins that will not be over by then, counted from the start. */
  readonly milliseconds: number;
}

const MiB = 2 ** 20;
/** With the seconds that the rest takes, under two minutes. */
const QUICK_SECONDS = 100;

/**
 * Makes the disks anew for each round, starts a small Linux with all of them, has fio measure each, and leaves
 * report.html and report.json. All else is removed, also when it fails or is cancelled.
 *
 * @throws `E_NO_SPACE`, `E_NOT_FOUND` without QEMU or the parts of the guest, `E_EXTERNAL` if the guest fails, `E_ABORTED`
 */
export async function guestLab(
  options: GuestLabOptions,
  context: CommandContext,
): Promise<GuestLabResult> {
  const began = performance.now();
  const wanted = planOf(options);
  const directory = resolve(options.directory);
  await mkdir(directory, { recursive: true });
  await requireSpace(directory, wanted);
  const work = await mkdtemp(join(directory, "guest-"));
  const { signal } = context;
  try {
    const tell = (done: number, step: string): void => {
      context.onProgress?.({ done: Math.round(done * 1000), total: 1000, step });
    };
    tell(0, "looking for KVM");
    const acceleration = await probeAcceleration({ qemu: QEMU, signal });
    tell(0, "making the guest's system");
    const system =
      options.system === undefined
        ? await guestSystem(options.cache, signal)
        : await ownSystem(options.system, work);
    const plan = { ...wanted, caches: await possibleCaches(work, wanted.caches) };
    const rounds = await measure(plan, {
      began,
      work,
      system,
      acceleration: acceleration.kind,
      tell,
      context,
    });
    const volumes = (await du({ names: [join(work, "job")] }, quiet(context))).volumes;
    const { stdout } = await runProgram(QEMU, ["--version"], { timeout: 10_000, signal });
    const evaluated = evaluateRounds(rounds, plan.size.workloads);
    const findings = { ...evaluated, rounds, size: plan.size };
    const recommendation = recommend(findings);
    const report: GuestReport = {
      report: "platter lab --guest",
      version: 1,
      environment: await describeMachine(work, volumes[0]?.filesystem),
      guest: system.description,
      qemu: /version (\S+)/.exec(stdout)?.[1] ?? "unknown",
      acceleration: acceleration.kind,
      accelerationReason: acceleration.kind === "kvm" ? undefined : acceleration.reason,
      ...findings,
      recommendation,
      conclusions: concludeGuest(findings, recommendation),
    };
    const json = join(directory, "report.json");
    const html = join(directory, "report.html");
    await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
    await writeFile(html, guestPage(report));
    return { report, json, html };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function planOf({ quick, size, rounds }: GuestLabOptions): Plan {
  const disk = size ?? (quick ? 64 : 512) * MiB;
  if (!Number.isSafeInteger(disk) || disk < 64 * MiB || disk % MiB !== 0) {
    throw new PlatterError(
      "E_INVALID_SIZE",
      `The guest's disks cannot have ${disk} bytes: give a multiple of 1 MiB, from 64M up.`,
      { field: "size", value: disk },
    );
  }
  const wanted = rounds ?? 9;
  if (!Number.isSafeInteger(wanted) || wanted < 1 || wanted > 1000) {
    throw new PlatterError("E_INVALID_ARGUMENT", `The lab cannot do ${wanted} rounds: 1 to 1000.`, {
      field: "rounds",
      value: wanted,
    });
  }
  return quick
    ? {
        candidates: quickCandidates,
        size: { disk, workloads: quickWorkloads, sequential: 128, random: 256, flushed: 32 },
        caches: ["none"],
        rounds: wanted,
        milliseconds: QUICK_SECONDS * 1000,
      }
    : {
        candidates: guestCandidates,
        size: { disk, workloads: guestWorkloads, sequential: 1024, random: 2048, flushed: 128 },
        caches: guestCaches,
        rounds: wanted,
        milliseconds: Number.POSITIVE_INFINITY,
      };
}

/** Every disk may be written full, whatever it takes at first; the backing disk is one more. */
async function requireSpace(directory: string, { candidates, size }: Plan): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const needed = (candidates.length + 1) * size.disk + 64 * MiB;
  const free = bavail * bsize;
  if (free >= needed) return;
  throw new PlatterError(
    "E_NO_SPACE",
    `${directory}: the lab needs ${formatSize(needed)} and there is ${formatSize(free)}; name another directory, or smaller disks with --size`,
    { file: directory, value: free },
  );
}

/** Some filesystems do not take O_DIRECT, which `cache=none` is made of. */
async function possibleCaches(
  directory: string,
  wanted: readonly GuestCache[],
): Promise<readonly GuestCache[]> {
  const trial = join(directory, "direct");
  try {
    await writeFile(trial, "");
    await (await open(trial, constants.O_RDWR | constants.O_DIRECT)).close();
    return wanted;
  } catch {
    return ["writeback"];
  } finally {
    await rm(trial, { force: true });
  }
}

interface Measuring {
  readonly began: number;
  readonly work: string;
  readonly system: GuestSystem;
  readonly acceleration: "kvm" | "tcg";
  readonly tell: (done: number, step: string) => void;
  readonly context: CommandContext;
}

async function measure(plan: Plan, measuring: Measuring): Promise<GuestRound[]> {
  const { began, work, system, acceleration, tell, context } = measuring;
  const { candidates, size, caches } = plan;
  if (candidates.some(({ isOverlay }) => isOverlay)) await makeBacking(work, size.disk);
  const starts = Array.from({ length: plan.rounds }, (_none, round) =>
    rotated(caches, round).map((cache) => ({ cache, round })),
  ).flat();
  const rounds: GuestRound[] = [];
  let longest = 0;
  for (const [index, { cache, round }] of starts.entries()) {
    const start = performance.now();
    if (index > 0 && start - began + longest > plan.milliseconds) break;
    const order = rotated(candidates, round);
    const made = await makeDisks(order, work, size.disk, context);
    const step = `round ${round + 1} of ${plan.rounds}, cache=${cache}`;
    tell(index / starts.length, step);
    const disks = await runGuest({
      system,
      acceleration,
      cache,
      candidates: order,
      size,
      seed: round + 1,
      directory: work,
      signal: context.signal,
      onTurn: (turn) =>
        tell(
          (index + (turn - 1) / order.length) / starts.length,
          `${step}: ${order[turn - 1]?.label ?? ""}`,
        ),
    });
    rounds.push({ cache, disks, ...made });
    longest = Math.max(longest, performance.now() - start);
  }
  tell(1, "writing the report");
  return rounds;
}

async function makeDisks(
  order: readonly GuestCandidate[],
  work: string,
  size: number,
  context: CommandContext,
): Promise<Pick<GuestRound, "creation" | "empty">> {
  const creation: Record<string, number> = {};
  const empty: Record<string, number> = {};
  for (const candidate of order) {
    throwIfAborted(context.signal);
    const start = performance.now();
    const name = await makeCandidate(candidate, work, size, quiet(context));
    creation[candidate.label] = performance.now() - start;
    empty[candidate.label] = (await stat(name)).blocks * 512;
  }
  return { creation, empty };
}

/** The single commands do not report their own progress. */
const quiet = (context: CommandContext): CommandContext => ({ ...context, onProgress: undefined });
