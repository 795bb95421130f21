import type { FormatOption } from "../format.ts";
import { keyOptions } from "../luks-options.ts";

/** What can be changed about an image, in the order in which QEMU looks at it. */
export const amendOptions: readonly FormatOption[] = [
  ...keyOptions("encrypt."),
  { name: "size", type: "size", help: "Virtual disk size" },
  { name: "compat", type: "string", help: "Compatibility level (v2 [0.10] or v3 [1.1])" },
  { name: "backing_file", type: "string", help: "File name of a base image" },
  { name: "backing_fmt", type: "string", help: "Image format of the base image" },
  { name: "data_file", type: "string", help: "File name of an external data file" },
  {
    name: "data_file_raw",
    type: "boolean",
    help: "The external data file must stay valid as a raw image",
  },
  { name: "lazy_refcounts", type: "boolean", help: "Postpone refcount updates" },
  { name: "refcount_bits", type: "number", help: "Width of a reference count entry in bits" },
];
