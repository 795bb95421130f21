/** Fuzzing: damaged images, what the library does with them, and what QEMU says of the same ones. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { imageName, makeCorpus, type Base } from "./corpus.ts";
import { mutate, type Mutant } from "./mutate.ts";
import { Random } from "./random.ts";
import type { Question, Reply } from "./worker.ts";

/** How long and how hard to look. */
export interface FuzzOptions {
  readonly seed: number;
  /** Ends after so many executions, or so many milliseconds. */
  readonly executions?: number;
  readonly milliseconds?: number;
  /** QEMU looks at one image of so many. */
  readonly judgeEvery: number;
  readonly onProgress?: (done: number) => void;
}

/** Something that must not happen, and how to see it again. */
export interface Finding {
  /** The seed of this one image. */
  readonly seed: number;
  readonly base: string;
  readonly changes: readonly string[];
  readonly what: string;
}

/** What came of fuzzing. */
export interface FuzzResult {
  readonly executions: number;
  readonly judged: number;
  readonly seconds: number;
  readonly findings: readonly Finding[];
  /** How often each operation ended how: `read E_CORRUPT`. */
  readonly outcomes: ReadonlyMap<string, number>;
}

/** A thing that takes longer hangs, for the images are small. */
const patience = 20_000;

/** Memory that the process may take besides what it had at the start. */
const memoryBudget = 1.5 * 2 ** 30;

/** Findings after which there is no point in going on. */
const enough = 20;

/** A thread for the work, which is replaced when it ends badly. */
class Bench {
  private worker: Worker | undefined;
  private answer: (reply: Reply | string) => void = () => undefined;

  /** The reply, or in words why there is none. */
  async ask(question: Question): Promise<Reply | string> {
    const worker = (this.worker ??= this.start());
    let timer: NodeJS.Timeout | undefined;
    const reply = await new Promise<Reply | string>((resolve) => {
      timer = setTimeout(() => resolve(`hangs: no answer after ${patience} ms`), patience);
      this.answer = resolve;
      worker.postMessage(question, []);
    });
    clearTimeout(timer);
    if (typeof reply === "string") await this.close();
    return reply;
  }

  async close(): Promise<void> {
    const { worker } = this;
    this.worker = undefined;
    await worker?.terminate();
  }

  private start(): Worker {
    const worker = new Worker(new URL("worker.ts", import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: 512 },
    });
    worker.on("message", (reply: Reply) => this.answer(reply));
    worker.on("error", (error) => this.answer(`ends the thread: ${String(error)}`));
    return worker;
  }
}

/** What QEMU says of an image that contradicts us. */
function judge(base: Base, { bytes }: Mutant, reply: Reply, cwd: string): string | undefined {
  // The secret of an encrypted one takes QEMU too long each time.
  if (base.format !== "qcow2" || bytes[35] !== 0) return undefined;
  writeFileSync(join(cwd, imageName), bytes);
  for (const [name, other] of base.others) writeFileSync(join(cwd, name), other);
  const run = (...words: string[]) =>
    spawnSync("qemu-img", words, { cwd, encoding: "utf8", timeout: 20_000, env: { LC_ALL: "C" } });
  const checked = run("check", "-f", "qcow2", "--output=json", imageName);
  if (checked.status === 2 && reply.corruptions === 0) {
    const { corruptions } = JSON.parse(checked.stdout) as { corruptions?: number };
    if ((corruptions ?? 0) > 0)
      return `check is clean, and qemu-img finds ${corruptions} corruptions`;
  }
  if (reply.contents === undefined) return undefined;
  const raw = join(cwd, "theirs.raw");
  const converted = run("convert", "-f", "qcow2", "-O", "raw", imageName, raw);
  if (converted.status !== 0) return undefined;
  const theirs = readFileSync(raw);
  // QEMU's disks are whole sectors, whatever the header says.
  if (theirs.length !== reply.contents.length && reply.contents.length % 512 !== 0)
    return undefined;
  if (theirs.equals(reply.contents)) return undefined;
  const at = theirs.findIndex((byte, i) => byte !== reply.contents![i]);
  return `byte ${at} reads as ${reply.contents[at]}, and with qemu-img as ${theirs[at]}`;
}

/** Looks for what must not happen: crashes, hangs, growth, and contradictions to QEMU. */
export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const { seed, executions = Infinity, milliseconds = Infinity, judgeEvery } = options;
  const bases = await makeCorpus();
  const byName = new Map(bases.map((base) => [base.name, base]));
  const cwd = mkdtempSync(join(tmpdir(), "platter-fuzz-"));
  mkdirSync(cwd, { recursive: true });
  const bench = new Bench();
  const findings: Finding[] = [];
  const outcomes = new Map<string, number>();
  const start = performance.now();
  const memory = process.memoryUsage().rss;
  let done = 0;
  let judged = 0;
  try {
    while (done < executions && performance.now() - start < milliseconds) {
      const number = seed + done++;
      const mutant = mutate(bases, new Random(number));
      const base = byName.get(mutant.base)!;
      const report = (what: string): void => {
        findings.push({ seed: number, base: mutant.base, changes: mutant.changes, what });
      };
      const { format, others } = base;
      const reply = await bench.ask({ bytes: mutant.bytes, format, others });
      if (typeof reply === "string") {
        report(reply);
        continue;
      }
      for (const [operation, outcome] of Object.entries(reply.outcomes)) {
        const key = `${operation} ${outcome}`;
        outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
      }
      if (reply.crash !== undefined) report(reply.crash);
      if (done % judgeEvery === 0) {
        judged++;
        const contradiction = judge(base, mutant, reply, cwd);
        if (contradiction !== undefined) report(contradiction);
      }
      if (done % 64 === 0) {
        const grown = process.memoryUsage().rss - memory;
        if (grown > memoryBudget) report(`the process has grown by ${grown} bytes`);
        options.onProgress?.(done);
      }
      if (findings.length >= enough) break;
    }
  } finally {
    await bench.close();
    rmSync(cwd, { recursive: true, force: true });
  }
  const seconds = (performance.now() - start) / 1000;
  return { executions: done, judged, seconds, findings, outcomes };
}

/** A finding as a paragraph. */
export const describeFinding = ({ seed, base, changes, what }: Finding): string =>
  `seed ${seed}: ${base}: ${changes.join("; ")}\n  ${what}`;
