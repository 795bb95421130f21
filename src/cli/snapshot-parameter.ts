import { splitOptionList } from "./format-options.ts";
import type { SnapshotReference } from "./contract.ts";
import { argumentError } from "./usage.ts";

/**
 * Reads `snapshot.id=ID,snapshot.name=NAME`, or a text that is either.
 *
 * @throws `E_INVALID_ARGUMENT` with QEMU's words
 */
export function readSnapshotParameter(text: string): SnapshotReference {
  if (!text.startsWith("snapshot.")) return text;
  const found: Record<string, string> = {};
  for (const [name, value] of splitOptionList([text]).pairs) {
    if (name !== "snapshot.id" && name !== "snapshot.name") {
      throw argumentError(
        "-l",
        text,
        `-l takes snapshot.id and snapshot.name, not ${name}.`,
        `Invalid parameter '${name}'\nqemu-img: Failed in parsing snapshot param '${text}'`,
      );
    }
    found[name] = value;
  }
  const { "snapshot.id": id, "snapshot.name": name } = found;
  if (id !== undefined) return { id, name };
  // With neither, none fits.
  return { name: name ?? "" };
}
