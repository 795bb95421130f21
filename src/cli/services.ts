import { PlatterError } from "../errors.ts";
import type { Services } from "./contract.ts";

/** The services of this build. */
export function defaultServices(): Services {
  const absent = (what: string): PlatterError =>
    new PlatterError("E_UNSUPPORTED", `This build does not contain ${what}.`);
  return {
    command: async (name) => {
      throw absent(`the command ${name}`);
    },
    surroundings: async () => {
      throw absent("a way to open files");
    },
    formats: async () => ({
      names: ["qcow2", "raw"],
      isWritable: (format) => format === "raw" || format === "qcow2",
      describe: () => [],
      parse: (_format, pairs) => {
        if (pairs.length === 0) return {};
        throw absent("creation options");
      },
    }),
  };
}
