/** Commands that most programs do not use, loaded when they are. */

import type { CommandContext } from "./context.ts";
import type { DuOptions, DuResult } from "./du.ts";
import type { ExplainOptions, ExplainResult } from "./explain.ts";

/**
 * Measures what images take: for the guest, as files, and on the host. Opens nothing that they name.
 * Throws what opening and reading an image throws; `E_ABORTED`.
 */
export async function du(options: DuOptions, context: CommandContext): Promise<DuResult> {
  const command = await import("./du.ts");
  return command.du(options, context);
}

/**
 * Explains where every byte of an image file goes. Opens nothing that the image names. Throws what
 * opening and reading an image throws; `E_ABORTED`.
 */
export async function explain(
  options: ExplainOptions,
  context: CommandContext,
): Promise<ExplainResult> {
  const command = await import("./explain.ts");
  return command.explain(options, context);
}
