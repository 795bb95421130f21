/**
 * Runs every command of the library over every image of a directory, in untrusted mode, and prints one
 * line of JSON each. Run under strace, so that one process shows which files are opened.
 */
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { audit, check, convert, info, map } from "../../src/index.ts";
import { luksPassword } from "./luks.ts";

const directory = process.argv[2]!;
const given = {
  untrusted: true,
  secrets: async (): Promise<Uint8Array> => new TextEncoder().encode(luksPassword),
};
/** How an image is opened; a LUKS image as somebody does who has its secret. */
const called = (name: string): string =>
  basename(name).startsWith("luks-") && !basename(name).startsWith("luks-inside")
    ? `json:{"driver":"luks","key-secret":"s","file.filename":"${name}"}`
    : name;

const commands: Record<string, (name: string) => Promise<unknown>> = {
  info: (name) => info({ name }, given),
  chain: (name) => info({ name, backingChain: true }, given),
  check: (name) => check({ name: called(name) }, given),
  map: async (name) => {
    let count = 0;
    for await (const entry of map({ name: called(name) }, given)) if (count++ > 1000) return entry;
    return count;
  },
  convert: (name) =>
    convert(
      { sources: [called(name)], target: `${directory}.out`, targetFormat: "qcow2" },
      { ...given, signal: AbortSignal.timeout(2000) },
    ),
  audit: (name) => audit({ names: [name] }, given),
};

for (const file of readdirSync(directory).toSorted()) {
  for (const [command, run] of Object.entries(commands)) {
    const start = performance.now();
    let error: { name?: string; code?: string; message?: string } | undefined;
    let verdict: unknown;
    try {
      const result = await run(join(directory, file));
      if (command === "audit") verdict = (result as { verdict: string }).verdict;
    } catch (caught) {
      const { name, code, message, stack } = caught as Error & { code?: string };
      error = { name, ...(code !== undefined && { code }), message };
      if (name !== "PlatterError") error.message = stack ?? message;
    }
    const milliseconds = performance.now() - start;
    process.stdout.write(`${JSON.stringify({ file, command, milliseconds, error, verdict })}\n`);
  }
}
process.stdout.write(`${JSON.stringify({ peak: process.resourceUsage().maxRSS })}\n`);
