/** `npm run fuzz -- --minutes N [--seed N] [--jobs N] [--peer-every N] [--replay FILE]`. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { makeCorpus } from "./corpus.ts";
import { fuzz, replay, type Result } from "./fuzz.ts";
import type { Case } from "./mutations.ts";
import { summary } from "./summary.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    jobs: { type: "string", default: String(availableParallelism()) },
    "peer-every": { type: "string", default: "5" },
    /** A file with lines of JSON, each a case. */
    replay: { type: "string" },
  },
});

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const seed = Number(values.seed);
const bases = await makeCorpus();
let result: Result;
if (values.replay === undefined) {
  print(`seed ${seed}, ${bases.length} bases, ${values.jobs} processes, ${values.minutes} minutes`);
  let told = performance.now();
  const start = told;
  result = await fuzz({
    bases,
    seconds: Number(values.minutes) * 60,
    seed,
    jobs: Number(values.jobs),
    peerEvery: Number(values["peer-every"]),
    onNews: ({ executions, findings }) => {
      if (performance.now() - told < 30_000) return;
      told = performance.now();
      const seconds = Math.round((told - start) / 1000);
      print(`${seconds} s: ${executions} executions, ${findings.size} findings`);
    },
  });
} else {
  const lines = readFileSync(values.replay, "utf8").trim().split("\n");
  result = await replay(
    bases,
    lines.map((line) => JSON.parse(line) as Case),
  );
}
print(summary(result, seed));
process.exitCode = result.findings.size === 0 ? 0 : 1;
