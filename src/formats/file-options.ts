import type { FormatOption } from "./format.ts";

/** Creation options that are about the file an image is in; every format takes them. */
export const fileOptions: readonly FormatOption[] = [
  {
    name: "nocow",
    type: "boolean",
    help: "Turn off copy-on-write (valid only on btrfs)",
    file: true,
  },
  {
    name: "extent_size_hint",
    type: "size",
    help: "Extent size hint for the image file, 0 to disable",
    file: true,
  },
];
