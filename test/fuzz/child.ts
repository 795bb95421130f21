/** The process in which images are tried: it may die of one, and the one that started it says of which. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { startCoverage, type FileCoverage } from "./coverage.ts";
import type { Base } from "./corpus.ts";
import { exercise, type Exercised, type Finding } from "./exercise.ts";
import { currentFile, type Task } from "./protocol.ts";
import { mutated, mutationsOf, type Case, type Mutation } from "./mutations.ts";
import { compareWithPeer } from "./peer.ts";
import { placesOf, type Place } from "./tables.ts";

/** Milliseconds between reports. */
const reportEvery = 5000;
/** Cases that fast-check makes in one go. */
const batch = 50;
/** More iterations of PBKDF2 than this are no fault, but take the time of many other cases. */
const mostIterations = 2_000_000;

/** Makes cases. Those that led somewhere new are changed further. */
class Source {
  private readonly bases: readonly Base[];
  private readonly arbitraries: ReadonlyArray<fc.Arbitrary<readonly Mutation[]>>;
  private readonly parents: Array<Array<readonly Mutation[]>>;
  /** Each base by its index, as often as its share is; finding a key takes as long as all the rest. */
  private readonly shares: readonly number[];
  private readonly seed: number;
  private round = 0;
  private waiting: Case[] = [];

  constructor(bases: readonly Base[], places: ReadonlyArray<readonly Place[]>, seed: number) {
    this.bases = bases;
    this.seed = seed;
    this.arbitraries = bases.map(({ bytes }, i) => mutationsOf(bytes, places[i]!));
    this.parents = bases.map(() => []);
    this.shares = bases.flatMap(({ secretOption }, i) =>
      Array.from({ length: secretOption === undefined ? 20 : 1 }, () => i),
    );
  }

  next(): Case {
    if (this.waiting.length === 0) this.fill();
    return this.waiting.pop()!;
  }

  /** The case led to something that none before it did. */
  keep({ base, mutations }: Case): void {
    const parents = this.parents[this.bases.findIndex(({ name }) => name === base)]!;
    if (mutations.length < 8) parents.push(mutations);
  }

  private fill(): void {
    const seed = (this.seed * 1_000_003 + this.round++) | 0;
    const index = fc.constantFrom(...this.shares);
    const one = index.chain((i) =>
      fc
        .tuple(this.arbitraries[i]!, fc.nat(), fc.boolean())
        .map(([mutations, number, isChild]): Case => {
          const parents = this.parents[i]!;
          const parent = isChild && parents.length > 0 ? parents[number % parents.length]! : [];
          return { base: this.bases[i]!.name, mutations: [...parent, ...mutations] };
        }),
    );
    this.waiting = fc.sample(one, { seed, numRuns: batch }).toReversed();
  }
}

/** Tries cases and keeps account. */
class Worker {
  private readonly task: Task;
  private readonly places: ReadonlyArray<readonly Place[]>;
  private readonly reached = new Set<string>();
  private readonly takeCoverage: () => Promise<Record<string, FileCoverage>>;
  private executions = 0;
  private skipped = 0;
  private compared: Record<string, number> = {};
  private outcomes: Record<string, number> = {};
  private findings: Array<Finding & { case: Case }> = [];
  private newlyReached: string[] = [];

  constructor(task: Task, takeCoverage: () => Promise<Record<string, FileCoverage>>) {
    this.task = task;
    this.takeCoverage = takeCoverage;
    this.places = task.bases.map(({ bytes, format }) => placesOf(bytes, format));
  }

  async run(): Promise<void> {
    const { bases, seed, cases } = this.task;
    if (cases !== undefined) {
      for (const one of cases) await this.try(one, true);
      return this.report(true);
    }
    const source = new Source(bases, this.places, seed);
    for (let last = performance.now(); ;) {
      const one = source.next();
      const every = this.task.peerEvery;
      if (await this.try(one, every > 0 && this.executions % every === 0)) source.keep(one);
      if (performance.now() - last < reportEvery) continue;
      last = performance.now();
      await this.report(false);
    }
  }

  /** Tries a case; whether it led somewhere new. */
  private async try(one: Case, isCompared: boolean): Promise<boolean> {
    const index = this.task.bases.findIndex(({ name }) => name === one.base);
    const base = this.task.bases[index]!;
    const image = mutated(base.bytes, one.mutations);
    if (asksForTime(image, this.places[index]!)) {
      this.skipped++;
      return false;
    }
    writeFileSync(join(this.task.directory, currentFile), JSON.stringify(one));
    const exercised = await exercise(image, base, this.executions++);
    this.found(exercised.findings, one);
    if (isCompared) {
      const { findings, done } = await compareWithPeer(image, base, exercised, this.task.directory);
      this.found(findings, one);
      for (const what of done) this.compared[what] = (this.compared[what] ?? 0) + 1;
    }
    return this.account(one, exercised);
  }

  private found(findings: readonly Finding[], one: Case): void {
    for (const finding of findings) this.findings.push({ ...finding, case: one });
  }

  private account(one: Case, { endings }: Exercised): boolean {
    let isNew = false;
    for (const { command, outcome, message } of endings) {
      const ending = `${command}: ${outcome}`;
      this.outcomes[ending] = (this.outcomes[ending] ?? 0) + 1;
      if (this.reach(`${ending} ${message}`)) isNew = true;
      for (const mutation of one.mutations) {
        if (mutation.kind === "set") this.reach(`${mutation.table}.${mutation.field} × ${ending}`);
      }
    }
    return isNew;
  }

  private reach(what: string): boolean {
    if (this.reached.has(what)) return false;
    this.reached.add(what);
    this.newlyReached.push(what);
    return true;
  }

  private async report(done: boolean): Promise<void> {
    const { executions, compared, outcomes, findings, newlyReached: reached, skipped } = this;
    const coverage = await this.takeCoverage();
    const report = { executions, compared, outcomes, findings, reached, skipped, coverage, done };
    this.findings = [];
    this.newlyReached = [];
    await new Promise<void>((resolve) =>
      process.send?.(report, undefined, undefined, () => resolve()),
    );
  }
}

function asksForTime(image: Uint8Array, places: readonly Place[]): boolean {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const counts = places.filter(({ field }) => field === "iterations" || field === "mk_digest_iter");
  const all = counts.reduce(
    (sum, { at }) => sum + (at + 4 <= image.length ? view.getUint32(at) : 0),
    0,
  );
  return all > mostIterations && all <= 2 ** 28;
}

process.once("message", (task: Task) => {
  void startCoverage()
    .then((takeCoverage) => new Worker(task, takeCoverage).run())
    .then(() => process.disconnect?.());
});
// Whoever started it has gone.
process.on("disconnect", () => process.exit());
