import type { CheckReport, RepairReport } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import { ScratchStorage, type ScratchWrite } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";
import { withDisk } from "./with-disk.ts";

/** Which image to check. */
export interface CheckOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** Read past the host's page cache. */
  readonly direct?: boolean | undefined;
  /** Others may be writing to it (`-U`). */
  readonly shared?: boolean | undefined;
  /** Repair what is found: only space that is lost, or all that is understood. */
  readonly repair?: "leaks" | "all" | undefined;
  /** With `repair`: only tell what would be written. */
  readonly dryRun?: boolean | undefined;
}

/** What a check found in which image. */
export interface CheckResult extends CheckReport {
  readonly filename: string;
  readonly format: string;
  /** What was repaired; the rest of the result is what is left. */
  readonly repair?: RepairReport | undefined;
  /** With `dryRun`: what a repair would write, in order, and the result is what would be left. */
  readonly writes?: readonly ScratchWrite[] | undefined;
}

/**
 * Looks for inconsistencies in an image, and changes nothing unless it is asked to repair; backing images
 * are not looked at.
 */
export async function check(options: CheckOptions, context: CommandContext): Promise<CheckResult> {
  const { signal, onProgress } = context;
  const { repair: what, dryRun = false } = options;
  let scratch: ScratchStorage | undefined;
  const opened = await openImage(
    {
      ...options,
      writable: what !== undefined,
      repair: what === undefined ? "look" : true,
      ...(dryRun && {
        wrap: (storage) => {
          scratch = new ScratchStorage(storage);
          return scratch;
        },
      }),
    },
    context,
  );
  return withDisk(opened, async (disk) => {
    const { image } = disk;
    if (image.check === undefined) {
      throw new PlatterError(
        "E_UNSUPPORTED",
        `${options.name}: a ${image.format} image has no structure that could be checked`,
        { file: options.name, field: "format", qemu: "This image format does not support checks" },
      );
    }
    const repair =
      what === undefined || image.repair === undefined
        ? undefined
        : await image.repair({ what, signal, onProgress });
    const report = await image.check({ signal, onProgress });
    const { name: filename } = options;
    return {
      filename,
      format: image.format,
      ...report,
      ...(repair !== undefined && { repair }),
      ...(scratch !== undefined && { writes: [...scratch.writes] }),
    };
  });
}
