import type { CheckReport } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";

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
}

/** What a check found in which image. */
export interface CheckResult extends CheckReport {
  readonly filename: string;
  readonly format: string;
}

/** Looks for inconsistencies in an image, changing nothing; its backing images are not looked at. */
export async function check(options: CheckOptions, context: CommandContext): Promise<CheckResult> {
  const { signal, onProgress } = context;
  await using disk = await openImage({ ...options, rawLock: "shared" }, context);
  const { image } = disk;
  if (image.check === undefined) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${options.name}: a ${image.format} image has no structure that could be checked`,
      { file: options.name, field: "format", qemu: "This image format does not support checks" },
    );
  }
  const report = await image.check({ signal, onProgress });
  return { filename: options.name, format: image.format, ...report };
}
