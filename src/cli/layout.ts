/** How a table is laid out. */
export interface ColumnOptions {
  readonly indent?: number;
  readonly gap?: number;
  /** Columns that are aligned at their right end. */
  readonly right?: readonly boolean[];
}

/** Lays rows out in columns that are as wide as their widest cell; the last is not padded. */
export function alignColumns(
  rows: ReadonlyArray<readonly string[]>,
  { indent = 0, gap = 2, right = [] }: ColumnOptions = {},
): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.slice(0, -1).forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, visibleLength(cell));
    });
  }
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => {
        if (column === row.length - 1) return cell;
        const padding = " ".repeat((widths[column] ?? 0) - visibleLength(cell));
        return (right[column] === true ? padding + cell : cell + padding) + " ".repeat(gap);
      });
      return `${" ".repeat(indent)}${cells.join("")}`.trimEnd() + "\n";
    })
    .join("");
}

/** Characters on the terminal: without colour sequences. */
function visibleLength(text: string): number {
  let length = 0;
  let inSequence = false;
  for (const character of text) {
    if (inSequence) inSequence = character !== "m";
    else if (character === "\x1b") inSequence = true;
    else length++;
  }
  return length;
}

/** Breaks sentences into lines of at most `width` characters, each indented. */
export function wrap(text: string, width: number, indent = 0): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter((part) => part !== "")) {
    if (line !== "" && indent + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  if (line !== "") lines.push(line);
  return lines.map((part) => `${" ".repeat(indent)}${part}\n`).join("");
}
