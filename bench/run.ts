/**
 * Compares Platter with qemu-img: `npm run bench`, `npm run bench -- CELL…`, with `--rounds N`,
 * `--small` for little data, `--data DIRECTORY` for where it is kept, and `--list`.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import manifest from "../package.json" with { type: "json" };
import { asQemuImg, cells, program, target, type Cell } from "./cells.ts";
import { makeData, scales } from "./data.ts";
import { measure, type CommandLine } from "./measure.ts";
import { picture, table, type Failure, type Machine, type Outcome } from "./report.ts";
import { median, ratio } from "./statistics.ts";

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    small: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    data: { type: "string", default: join(tmpdir(), "platter-bench") },
    out: { type: "string" },
  },
});
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const output = (command: string, ...words: string[]): string =>
  execFileSync(command, words, { encoding: "utf8" }).trim();

const scale = scales[given.small ? "small" : "full"];
const directory = join(given.data, scale.name);
const rounds = Number(given.rounds);

/** A command that runs `rounds` times, in turn with others. */
interface Lane {
  readonly command: CommandLine;
  readonly seconds: number[];
  readonly processor: number[];
  memory: number;
  size: number | undefined;
}

const lane = (command: CommandLine): Lane => ({
  command,
  seconds: [],
  processor: [],
  memory: 0,
  size: undefined,
});

const made = join(directory, target);
const first = "first.img";

function take(cell: Cell, one: Lane, verifies: boolean): void {
  rmSync(made, { force: true });
  if (cell.before !== undefined) measure(cell.before, directory);
  const run = measure(one.command, directory);
  const said = cell.said === undefined ? undefined : cell.said.exec(run.stdout)?.[1];
  if (cell.said !== undefined && said === undefined) {
    throw new Error(`${one.command.join(" ")} does not say how long it took: ${run.stdout}`);
  }
  if (verifies) return verify(cell, one, run.stdout);
  one.seconds.push(said === undefined ? run.seconds : Number(said));
  one.processor.push(run.processor);
  one.memory = Math.max(one.memory, run.memory);
}

/** Looks at what a program made or said. Throws when it is not what the first one did. */
function verify(cell: Cell, one: Lane, said: string): void {
  if (cell.prints === true) {
    const before = join(directory, "first.txt");
    if (!existsSync(before)) writeFileSync(before, said);
    else if (readFileSync(before, "utf8") !== said) {
      throw new Error(`${one.command.join(" ")} does not print what the other one prints`);
    }
  }
  if (cell.makes === undefined) return;
  one.size = statSync(made).size;
  if (cell.makes.format === "qcow2") measure(["qemu-img", "check", "-q", target], directory);
  const same = cell.makes.same ?? first;
  if (existsSync(join(directory, same))) {
    measure(["qemu-img", "compare", "-q", same, target], directory);
  } else {
    renameSync(made, join(directory, same));
  }
}

function cleanUp(): void {
  for (const name of [target, first, "first.txt"]) rmSync(join(directory, name), { force: true });
}

function runCell(cell: Cell): Outcome {
  const ours = lane(cell.ours);
  const best = cell.best.map(lane);
  // Its best flags may be none.
  const plain =
    best.find(({ command }) => command.join(" ") === cell.plain.join(" ")) ?? lane(cell.plain);
  const limit = cell.limit === undefined ? undefined : lane(cell.limit);
  const lanes = [...new Set([ours, ...best, plain])];
  // Before the rounds that count, one that fills the caches, and whose results are looked at.
  for (let round = 0; round <= rounds; round++) {
    // In turn, and in the other order each time: what the one leaves in the caches, the other finds.
    const order = round % 2 === 0 ? lanes : lanes.toReversed();
    for (const one of order) take(cell, one, round === 0);
    if (limit !== undefined && round > 0) take(cell, limit, false);
  }
  const fastest = best.toSorted((a, b) => median(a.seconds) - median(b.seconds))[0]!;
  // What is special about a few files evens out in many.
  const larger = scale.name === "small" ? 1.05 : cell.larger;
  if (cell.larger !== undefined && ours.size! > fastest.size! * larger!) {
    throw new Error(`${cell.name}: our image has ${ours.size} bytes, the peer's ${fastest.size}`);
  }
  return {
    name: cell.name,
    what: cell.what,
    atLeast: cell.atLeast,
    aim: cell.aim,
    seconds: median(ours.seconds),
    best: {
      ...ratio(fastest.seconds, ours.seconds),
      seconds: median(fastest.seconds),
      command: fastest.command.join(" "),
    },
    plain: { ...ratio(plain.seconds, ours.seconds), seconds: median(plain.seconds) },
    ...(limit !== undefined && { limit: median(limit.seconds) }),
    processor: { ours: median(ours.processor), theirs: median(fastest.processor) },
    memory: { ours: ours.memory, theirs: fastest.memory },
    ...(ours.size !== undefined && { size: { ours: ours.size, theirs: fastest.size! } }),
  };
}

function machine(): Machine {
  return {
    kernel: release(),
    filesystem: output("stat", "-f", "-c", "%T", directory),
    processor: cpus()[0]?.model ?? "unknown",
    processors: cpus().length,
    memory: totalmem(),
    load: loadavg()[0] ?? 0,
    platter: manifest.version,
    node: process.version,
    qemu: /version (\S+)/.exec(output("qemu-img", "--version"))?.[1] ?? "unknown",
    rounds,
    scale: scale.name,
    command: ["npm run bench --", ...process.argv.slice(2)].join(" "),
  };
}

function main(): void {
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error("--rounds takes a number");
  // Before an hour of measuring, not after it.
  if (given.out !== undefined) mkdirSync(given.out, { recursive: true });
  const all = cells(scale);
  if (given.list) {
    for (const { name, what } of all) process.stdout.write(`${name.padEnd(16)} ${what}\n`);
    return;
  }
  const unknown = positionals.find((name) => !all.some((cell) => cell.name === name));
  if (unknown !== undefined)
    throw new Error(`there is no cell called ${unknown}; --list lists them`);
  mkdirSync(directory, { recursive: true });
  makeData(directory, scale, say);
  const link = join(directory, asQemuImg);
  rmSync(link, { force: true });
  symlinkSync(program, link);
  const chosen = all.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const about = machine();
  const outcomes: Outcome[] = [];
  const failures: Failure[] = [];
  for (const cell of chosen) {
    cleanUp();
    try {
      const outcome = runCell(cell);
      outcomes.push(outcome);
      say(`${cell.name}: ${outcome.best.median.toFixed(2)} times as fast`);
    } catch (error) {
      const [reason = ""] = String(error instanceof Error ? error.message : error).split("\n");
      failures.push({ name: cell.name, reason });
      say(`${cell.name}: failed: ${reason}`);
      process.exitCode = 1;
    }
  }
  cleanUp();
  process.stdout.write(`${table(outcomes, failures)}\n\n${JSON.stringify(about)}\n`);
  if (given.out === undefined) return;
  writeFileSync(
    join(given.out, "results.json"),
    `${JSON.stringify({ machine: about, outcomes, failures }, undefined, 2)}\n`,
  );
  writeFileSync(join(given.out, "results.svg"), picture(outcomes, about));
}

try {
  main();
} catch (error) {
  say(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
