import type { SnapshotReference } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";

/** The error for a snapshot that is not there; `qemu` is what QEMU says of it. */
export function snapshotNotFound(
  file: string,
  reference: SnapshotReference,
  qemu: string,
): PlatterError {
  const { id, name } =
    typeof reference === "string" ? { id: undefined, name: reference } : reference;
  const words = [
    ...(id === undefined ? [] : [`with the id "${id}"`]),
    ...(name === undefined ? [] : [`called "${name}"`]),
  ].join(" and ");
  return new PlatterError(
    "E_SNAPSHOT_NOT_FOUND",
    `${file}: there is no snapshot ${words}; "snapshot -l" lists those that there are`,
    { file, value: name ?? id, qemu },
  );
}
