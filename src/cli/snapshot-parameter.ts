import { splitOptionList } from "./format-options.ts";
import type { Session } from "./session.ts";
import { argumentError } from "./usage.ts";

/** Which internal snapshot `-l` names: by id, by name, by both, or by whichever fits. */
export interface SnapshotParameter {
  readonly id?: string;
  readonly name?: string;
  /** Neither was said to be meant. */
  readonly either?: string;
}

/**
 * Reads `snapshot.id=ID,snapshot.name=NAME`, or a text that is either.
 *
 * @throws `E_INVALID_ARGUMENT` with QEMU's words
 */
export function readSnapshotParameter(text: string, _session?: Session): SnapshotParameter {
  if (!text.startsWith("snapshot.")) return { either: text };
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
  return { ...(id === undefined ? {} : { id }), ...(name === undefined ? {} : { name }) };
}
