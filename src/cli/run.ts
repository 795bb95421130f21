import { main } from "./main.ts";
import { processEnvironment } from "./process.ts";
import { services } from "./services.ts";

/** Runs the program in this process. */
export async function run(): Promise<void> {
  const code = await main(process.argv, processEnvironment(), services);
  // An output that could not be written has set it already.
  if (code !== 0 || process.exitCode === undefined) process.exitCode = code;
}
