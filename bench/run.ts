/**
 * Compares Platter with qemu-img: `npm run bench`, `npm run bench -- CELL…`, with `--rounds N`,
 * `--small` for little data, `--data DIRECTORY` for where it is kept, and `--list`.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cells, target, type Cell } from "./cells.ts";
import { makeData, scales } from "./data.ts";
import { measure, type CommandLine } from "./measure.ts";
import { picture, table, type Machine, type Outcome } from "./report.ts";
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
const output = (program: string, ...words: string[]): string =>
  execFileSync(program, words, { encoding: "utf8" }).trim();

const scale = scales[given.small ? "small" : "full"];
const directory = join(given.data, scale.name);
const rounds = Number(given.rounds);

/** Runs the command `rounds` times in turn with others; each result is looked at by `verify`. */
interface Lane {
  readonly command: CommandLine;
  readonly seconds: number[];
  memory: number;
  size: number | undefined;
}

const lane = (command: CommandLine): Lane => ({ command, seconds: [], memory: 0, size: undefined });

function take(cell: Cell, one: Lane, verifies: boolean): void {
  const file = join(directory, target);
  rmSync(file, { force: true });
  if (cell.before !== undefined) measure(cell.before, directory);
  const run = measure(one.command, directory);
  const said = cell.said === undefined ? undefined : cell.said.exec(run.stdout)?.[1];
  if (cell.said !== undefined && said === undefined) {
    throw new Error(`${one.command.join(" ")} does not say how long it took: ${run.stdout}`);
  }
  one.seconds.push(said === undefined ? run.seconds : Number(said));
  one.memory = Math.max(one.memory, run.memory);
  if (cell.makes === undefined || !verifies) return;
  one.size = statSync(file).size;
  if (cell.makes.format === "qcow2") measure(["qemu-img", "check", "-q", target], directory);
  if (cell.makes.same !== undefined) {
    measure(["qemu-img", "compare", "-q", cell.makes.same, target], directory);
  }
}

function runCell(cell: Cell): Outcome {
  const ours = lane(cell.ours);
  const best = cell.best.map(lane);
  // Its best flags may be none.
  const plain =
    best.find(({ command }) => command.join(" ") === cell.plain.join(" ")) ?? lane(cell.plain);
  const limit = cell.limit === undefined ? undefined : lane(cell.limit);
  const lanes = [...new Set([ours, ...best, plain])];
  for (let round = 0; round < rounds; round++) {
    // In turn, and in the other order each time: what the one leaves in the caches, the other finds.
    const order = round % 2 === 0 ? lanes : lanes.toReversed();
    for (const one of order) take(cell, one, round === 0);
    if (limit !== undefined) take(cell, limit, false);
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
    node: process.version,
    qemu: /version (\S+)/.exec(output("qemu-img", "--version"))?.[1] ?? "unknown",
    rounds,
    scale: scale.name,
    command: ["npm run bench --", ...process.argv.slice(2)].join(" "),
  };
}

function main(): void {
  const all = cells(scale.metadata, scale.requests);
  if (given.list) {
    for (const { name, what } of all) process.stdout.write(`${name.padEnd(16)} ${what}\n`);
    return;
  }
  const unknown = positionals.find((name) => !all.some((cell) => cell.name === name));
  if (unknown !== undefined)
    throw new Error(`there is no cell called ${unknown}; --list lists them`);
  mkdirSync(directory, { recursive: true });
  makeData(directory, scale, say);
  const chosen = all.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const outcomes = chosen.map((cell) => {
    const outcome = runCell(cell);
    say(`${cell.name}: ${outcome.best.median.toFixed(2)} times as fast`);
    return outcome;
  });
  rmSync(join(directory, target), { force: true });
  const about = machine();
  process.stdout.write(`${table(outcomes)}\n\n${JSON.stringify(about)}\n`);
  if (given.out === undefined) return;
  writeFileSync(
    join(given.out, "results.json"),
    `${JSON.stringify({ machine: about, outcomes }, undefined, 2)}\n`,
  );
  writeFileSync(join(given.out, "results.svg"), picture(outcomes, about));
}

try {
  main();
} catch (error) {
  say(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
