import { main } from "./main.ts";
import { processEnvironment } from "./process.ts";
import { services } from "./services.ts";
import { beWatched, runWatched } from "./watched.ts";

/** Runs the program in this process, or with `--timeout` in a child that this one watches. */
export async function run(): Promise<void> {
  const watched = await runWatched(process.argv);
  if (watched !== undefined) process.exit(watched);
  const done = beWatched();
  const code = await main(process.argv, processEnvironment(), services);
  // An output that could not be written has set it already.
  if (code !== 0 || process.exitCode === undefined) process.exitCode = code;
  done?.(Number(process.exitCode));
}
