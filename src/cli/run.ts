import { main } from "./main.ts";
import { processEnvironment } from "./process.ts";
import { services } from "./services.ts";
import { beWatched, runWatched } from "./watched.ts";

/**
 * Runs the program in this process, or with `--timeout` in a child that this one watches.
 *
 * @param isOneFile whether it is the program that is one file
 */
export async function run(isOneFile = false): Promise<void> {
  const watched = await runWatched(process.argv, isOneFile);
  if (watched !== undefined) process.exit(watched);
  const done = beWatched();
  const code = await main(process.argv, processEnvironment(), services);
  // An output that could not be written has set it already.
  if (code !== 0 || process.exitCode === undefined) process.exitCode = code;
  done?.(Number(process.exitCode));
}
