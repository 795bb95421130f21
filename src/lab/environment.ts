import { cpus, release, totalmem, type } from "node:os";
import { statfs } from "node:fs/promises";

/** The machine that something was measured on. */
export interface LabEnvironment {
  readonly system: string;
  readonly processor: string;
  readonly processors: number;
  /** Bytes. */
  readonly memory: number;
  readonly node: string;
  /** The filesystem of the directory, and its space in bytes. */
  readonly filesystem: string;
  readonly filesystemSize: number;
  /** When, as ISO 8601. */
  readonly date: string;
}

/** Looks at the machine. `filesystem` is what the volume of the directory is called. */
export async function describeMachine(
  directory: string,
  filesystem: string | undefined,
): Promise<LabEnvironment> {
  const { blocks, bsize } = await statfs(directory);
  const [first] = cpus();
  return {
    system: `${type()} ${release()}`,
    processor: first?.model.trim() ?? "unknown processor",
    processors: cpus().length,
    memory: totalmem(),
    node: process.version,
    filesystem: filesystem ?? "unknown filesystem",
    filesystemSize: blocks * bsize,
    date: new Date().toISOString(),
  };
}
