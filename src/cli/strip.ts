import type { Painter, Tone } from "./style.ts";

/** How a cell of a picture looks, and what it means. */
export interface Mark {
  /** One character, different for each meaning: the picture can be read without colours. */
  readonly sign: string;
  readonly colour: Tone;
  readonly label: string;
}

/** A row of cells. */
export function drawStrip(cells: readonly Mark[], paint: Painter): string {
  let strip = "";
  for (let i = 0; i < cells.length;) {
    const { sign, colour } = cells[i]!;
    let end = i + 1;
    while (end < cells.length && cells[end]!.sign === sign) end++;
    strip += paint(colour, sign.repeat(end - i));
    i = end;
  }
  return strip;
}

/** What the signs in `cells` mean, each once. */
export function legend(cells: readonly Mark[], paint: Painter): string {
  const marks = new Map(cells.map((mark) => [mark.sign, mark]));
  return [...marks.values()]
    .map(({ sign, colour, label }) => `${paint(colour, sign)} ${label}`)
    .join("  ");
}
