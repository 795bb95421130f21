/**
 * Runs `platter` over images, in this process: `run.ts untrusted|trusting all|COMMAND IMAGE…`. Prints one line of JSON
 * for each command. Run under strace, so that one process shows which files are opened; before each image
 * `/marker/IMAGE` is asked for, which nobody has.
 */
import { openSync, rmSync } from "node:fs";
import { basename, dirname } from "node:path";
import { main } from "../../src/cli/main.ts";
import { services } from "../../src/cli/services.ts";
import { FakeEnvironment } from "../cli/harness.ts";
import { luksPassword } from "./luks.ts";

/** What came of one command. */
export interface Ran {
  readonly image: string;
  readonly command: string;
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Processor time. */
  readonly milliseconds: number;
  /** The most memory that the process has had so far, in kilobytes. */
  readonly peak: number;
}

/** Milliseconds after which a command is interrupted; with other programs around, none takes so long. */
const patience = 20_000;
const secret = ["--object", `secret,id=s,data=${luksPassword}`];

/** How an image is opened; a LUKS image as somebody does who has its secret. */
function called(image: string): string {
  const name = basename(image);
  if (!name.startsWith("luks-") || name.startsWith("luks-inside")) return name;
  return `json:{"driver":"luks","key-secret":"s","file.filename":"${name}"}`;
}

const commands: Record<string, (image: string) => string[]> = {
  info: (image) => ["info", basename(image)],
  "info json": (image) => ["info", "--output=json", basename(image)],
  chain: (image) => ["info", "--backing-chain", basename(image)],
  check: (image) => ["check", ...secret, called(image)],
  map: (image) => ["map", ...secret, called(image)],
  convert: (image) => ["convert", ...secret, "-O", "qcow2", called(image), `${dirname(image)}.out`],
  audit: (image) => ["audit", basename(image)],
};

async function run(command: string, words: readonly string[], image: string): Promise<Ran> {
  const environment = new FakeEnvironment();
  const timer = setTimeout(() => environment.signal("SIGINT"), patience);
  const before = process.cpuUsage();
  const code = await main(["node", "/bin/platter", ...words], environment, services);
  const { user, system } = process.cpuUsage(before);
  clearTimeout(timer);
  return {
    image: basename(image),
    command,
    code,
    stdout: environment.stdout.text.slice(0, 20_000),
    stderr: environment.stderr.text,
    milliseconds: (user + system) / 1000,
    peak: process.resourceUsage().maxRSS,
  };
}

const [mode, only, ...images] = process.argv.slice(2);
for (const image of images) {
  process.chdir(dirname(image));
  try {
    openSync(`/marker${image}`, "r");
  } catch {
    // Nobody has it.
  }
  for (const [command, wordsFor] of Object.entries(commands)) {
    if (only !== "all" && command !== only) continue;
    const untrusted = mode === "untrusted" && command !== "audit" ? ["--untrusted"] : [];
    const [name = "", ...rest] = wordsFor(image);
    const ran = await run(command, [name, ...untrusted, ...rest], image);
    process.stdout.write(`${JSON.stringify(ran)}\n`);
  }
  rmSync(`${dirname(image)}.out`, { force: true });
}
