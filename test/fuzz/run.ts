/**
 * `npm run fuzz -- --minutes N`, with `--seed N` for other images, `--judge-every N` for how often QEMU looks,
 * and `--replay SEED` for one image of a finding.
 */
import { parseArgs } from "node:util";
import { describeFinding, fuzz } from "./fuzz.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    replay: { type: "string" },
    "judge-every": { type: "string", default: "8" },
  },
});
const seed = Number(values.replay ?? values.seed ?? Date.now() % 2 ** 31);
const result = await fuzz({
  seed,
  ...(values.replay === undefined
    ? { milliseconds: Number(values.minutes) * 60_000 }
    : { executions: 1 }),
  judgeEvery: values.replay === undefined ? Number(values["judge-every"]) : 1,
  onProgress: (done) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${done} images`);
  },
});
const { executions, judged, seconds, findings, outcomes } = result;
process.stdout.write(
  `seed ${seed}: ${executions} images in ${seconds.toFixed(0)} s ` +
    `(${(executions / seconds).toFixed(0)} a second), ${judged} of them judged by QEMU\n`,
);
for (const [outcome, count] of [...outcomes].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
  process.stdout.write(`${String(count).padStart(8)}  ${outcome}\n`);
}
for (const finding of findings) process.stdout.write(`${describeFinding(finding)}\n`);
process.stdout.write(`${findings.length} findings\n`);
process.exitCode = findings.length === 0 ? 0 : 1;
