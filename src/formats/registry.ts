import { PlatterError } from "../errors.ts";
import type { Storage } from "../storage/index.ts";
import type { Format } from "./format.ts";
import { luks } from "./luks/index.ts";
import { qcow2 } from "./qcow2/index.ts";
import { raw } from "./raw/index.ts";

/** The formats that come with Platter. */
export const formats: readonly Format[] = [luks, qcow2, raw];

/** Bytes that formats get to see when they probe. */
const probeBytes = 2048;

/**
 * The format called `name`, in order to open or to create an image of it; throws `E_UNKNOWN_FORMAT`,
 * listing the known ones.
 */
export function formatNamed(
  name: string,
  purpose: "open" | "create",
  known: readonly Format[] = formats,
): Format {
  const format = known.find((candidate) => candidate.name === name);
  if (format !== undefined) return format;
  throw new PlatterError(
    "E_UNKNOWN_FORMAT",
    `Unknown format "${name}"; known are ${known.map((candidate) => candidate.name).join(", ")}`,
    {
      field: "format",
      value: name,
      qemu: `Unknown ${purpose === "open" ? "driver" : "file format"} '${name}'`,
    },
  );
}

/** Finds out the format of a storage from its first bytes. */
export async function probe(storage: Storage, known: readonly Format[] = formats): Promise<Format> {
  const head = new Uint8Array(Math.min(probeBytes, storage.size));
  await storage.read(0, head);
  return known.reduce((best, candidate) =>
    candidate.probe(head) > best.probe(head) ? candidate : best,
  );
}
