import { formatSize, type DuResult, type ImageUsage } from "./contract.ts";
import { alignColumns, wrap } from "./layout.ts";
import type { Session } from "./session.ts";

const modes: Readonly<Record<ImageUsage["preallocation"], string>> = {
  off: "off",
  metadata: "metadata",
  falloc: "falloc",
  full: "full or all written",
  mixed: "mixed",
  unknown: "unknown",
};

/**
 * The table of what images take, what they may still want of the host, and the words about it.
 * `withNotes: false` leaves the words out.
 */
export async function usageText(
  result: DuResult,
  session: Session,
  { withNotes = true }: { readonly withNotes?: boolean } = {},
): Promise<string> {
  const { explainUsage, explainVolumes, percent } = await session.services.usageWords();
  const { paint, safe, environment } = session;
  const width = Math.min(environment.stdout.columns, 100);
  const isScanned = result.images.some((image) => image.nonZero !== undefined);
  const heads = ["Image", "Format", "Disk", "File", "On host", "Written"];
  if (isScanned) heads.push("Not zero");
  heads.push("Share", "Preallocation");
  const rows = result.images.map((image) => {
    const { virtualSize, written, nonZero } = image;
    const cells = [
      paint("name", safe(image.filename)),
      image.format,
      formatSize(virtualSize),
      formatSize(image.fileLength),
      image.allocated === undefined ? "unknown" : formatSize(image.allocated),
      formatSize(written),
    ];
    if (isScanned) cells.push(formatSize(nonZero?.bytes ?? 0));
    cells.push(percent(nonZero?.bytes ?? written, virtualSize), modes[image.preallocation]);
    return cells;
  });
  const numbers = heads.map((_, column) => column >= 2 && column < heads.length - 1);
  const table = alignColumns([heads.map((head) => paint("heading", head)), ...rows], {
    right: numbers,
  });
  const volumes = explainVolumes(result).map((line) => wrap(line, width));
  if (!withNotes) return table;
  const notes = explainUsage(result).map(
    ({ filenames, text: words }) =>
      `${paint("name", listNames(filenames.map(safe)))}\n${wrap(safe(words), width, 2)}`,
  );
  return [table, volumes.join(""), notes.join("")].filter((part) => part !== "").join("\n");
}

/** "a, b, c and 4 more". */
function listNames(names: readonly string[]): string {
  if (names.length <= 4) return names.join(", ");
  return `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`;
}
