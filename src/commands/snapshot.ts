import type { SnapshotInfo, SnapshotReference } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { CommandContext } from "./context.ts";
import { openImage } from "./open.ts";

/** What to do with the internal snapshots of an image. */
export type SnapshotAction =
  | { readonly kind: "list" }
  | {
      readonly kind: "create";
      readonly name: string;
      /** When it was made; default now. */
      readonly date?: Date | undefined;
    }
  | { readonly kind: "apply" | "remove"; readonly snapshot: SnapshotReference };

/** Which image, and what to do. */
export interface SnapshotOptions {
  readonly name: string;
  readonly format?: string | undefined;
  /** The name is a list of options (`--image-opts`). */
  readonly imageOpts?: boolean | undefined;
  /** Others may be writing to it; for listing only. */
  readonly shared?: boolean | undefined;
  readonly action: SnapshotAction;
}

/** The snapshots of the image afterwards. */
export interface SnapshotResult {
  readonly filename: string;
  readonly format: string;
  readonly snapshots: readonly SnapshotInfo[];
}

/** See the function of the same name in lazy.ts. */
export async function snapshot(
  options: SnapshotOptions,
  context: CommandContext,
): Promise<SnapshotResult> {
  const { name, format, imageOpts, shared, action } = options;
  const writable = action.kind !== "list";
  const disk = await openImage({ name, format, imageOpts, shared, writable }, context);
  let found: SnapshotInfo[];
  try {
    const snapshots = await disk.image.snapshots?.();
    if (snapshots === undefined && writable) throw withoutSnapshots(disk.name, disk.image.format);
    if (action.kind === "create") {
      const now = (action.date ?? new Date()).getTime();
      const seconds = Math.floor(now / 1000);
      const date = { seconds, nanoseconds: (now - seconds * 1000) * 1e6 };
      await snapshots!.create({ name: action.name, date });
    }
    if (action.kind === "apply") await snapshots!.apply(action.snapshot);
    if (action.kind === "remove") await snapshots!.remove(action.snapshot);
    found = snapshots?.list() ?? [];
  } catch (error) {
    // The first error is the one to tell.
    await disk.close().catch(() => undefined);
    throw error;
  }
  await disk.close();
  return { filename: disk.name, format: disk.image.format, snapshots: found };
}

function withoutSnapshots(file: string, format: string): PlatterError {
  return new PlatterError(
    "E_UNSUPPORTED",
    `${file}: ${format} images have no internal snapshots; make an overlay with "create -b" instead`,
    { file, qemu: "Block driver does not support snapshots" },
  );
}
