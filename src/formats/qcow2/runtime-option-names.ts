/** Options that QEMU has for one opening of a qcow2 image; with a dot at its end, a group of them. */
export const runtimeOptionNames: readonly string[] = [
  "cache-clean-interval",
  "cache-size",
  "data-file.",
  "encrypt.",
  "l2-cache-entry-size",
  "l2-cache-size",
  "lazy-refcounts",
  "overlap-check",
  "overlap-check.",
  "pass-discard-other",
  "pass-discard-request",
  "pass-discard-snapshot",
  "refcount-cache-size",
];
