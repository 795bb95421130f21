import { pokedImages, type HostileImage } from "./images.ts";
import { luksImages } from "./luks.ts";
import { streamImages } from "./streams.ts";
import { tableImages } from "./tables.ts";

/** All hostile images of one file. */
export const hostileImages: readonly HostileImage[] = [
  ...pokedImages,
  ...tableImages,
  ...streamImages,
  ...luksImages,
];
