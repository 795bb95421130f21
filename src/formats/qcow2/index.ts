import type { Format } from "../format.ts";
import { create } from "./create.ts";
import { magic } from "./header.ts";
import { open } from "./open.ts";
import { amendOptions } from "./amend-options.ts";
import { createOptions, newDataFile } from "./options.ts";
import { runtimeOptionNames } from "./runtime-option-names.ts";

export { Qcow2Image } from "./image.ts";

/** QEMU's copy-on-write format, versions 2 and 3. */
export const qcow2: Format = {
  name: "qcow2",
  probe(head) {
    if (head.length < 8) return 0;
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
    return view.getUint32(0) === magic && view.getUint32(4) >= 2 ? 100 : 0;
  },
  open,
  hasBacking: true,
  audit: async (storage) => (await import("./audit.ts")).auditQcow2(storage),
  runtimeOptions: runtimeOptionNames,
  create,
  createOptions,
  amendOptions,
  measure: async (options) => (await import("./measure.ts")).measure(options),
  newDataFile,
};
