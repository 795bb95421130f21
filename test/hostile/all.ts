import { pokedImages, type HostileImage } from "./images.ts";
import { luksImages } from "./luks.ts";
import { nameImages } from "./names.ts";
import { streamImages } from "./streams.ts";
import { tableImages } from "./tables.ts";

/** All hostile images of one file. */
export const hostileImages: readonly HostileImage[] = [
  ...pokedImages,
  ...tableImages,
  ...streamImages,
  ...luksImages,
  ...nameImages,
];

/** Whether an image names another file, which is opened when it is trusted: chains.test.ts. */
export const isNaming = (name: string): boolean =>
  /^(backing|data-file)-name-|^names-(backing|data)/.test(name);
