import type { FormatOption } from "../format.ts";

/** What can be changed about an image, in the order in which QEMU looks at it. */
export const amendOptions: readonly FormatOption[] = [
  {
    name: "encrypt.state",
    type: "string",
    help: "Select new state of affected keyslots (active/inactive)",
  },
  {
    name: "encrypt.keyslot",
    type: "number",
    help: "Select a single keyslot to modify explicitly",
  },
  {
    name: "encrypt.old-secret",
    type: "string",
    help: "Select all keyslots that match this password",
  },
  {
    name: "encrypt.new-secret",
    type: "string",
    help: "New secret to set in the matching keyslots. Empty string to erase",
  },
  { name: "encrypt.iter-time", type: "number", help: "Time to spend in PBKDF in milliseconds" },
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
