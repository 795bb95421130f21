import type { PlatterError } from "../../errors.ts";
import type { RuntimeOptions } from "../format.ts";
import { runtimeBoolean, runtimeError, runtimeSize } from "../runtime-values.ts";
import type { Header } from "./header.ts";

/** What the options for one opening come to. */
export interface Qcow2RuntimeOptions {
  /** Bytes of L2 tables kept in memory; undefined where nothing is said. */
  readonly l2CacheSize: number | undefined;
  /** Whether refcounts may wait; undefined for what the image says. */
  readonly lazyRefcounts: boolean | undefined;
}

const checks = ["none", "constant", "cached", "all"];

/**
 * Reads the options of QEMU's qcow2 driver. The sizes of caches are honoured; what would change the
 * way of writing and is not there is refused by name.
 *
 * @throws `E_INVALID_ARGUMENT` and `E_UNSUPPORTED` with QEMU's words
 */
export function readRuntimeOptions(
  options: RuntimeOptions,
  header: Header,
  file: string,
): Qcow2RuntimeOptions {
  const l2CacheSize = readCacheSizes(options, file);
  checkEntrySize(options, 2 ** header.fields.cluster_bits, file);
  checkBehaviour(options, header, file);
  checkEncryption(options, header, file);
  const lazy = options["lazy-refcounts"];
  const lazyRefcounts =
    lazy === undefined ? undefined : runtimeBoolean(file, "lazy-refcounts", lazy);
  return { l2CacheSize, lazyRefcounts };
}

function readCacheSizes(options: RuntimeOptions, file: string): number | undefined {
  const size = (name: string): number | undefined => {
    const value = options[name];
    return value === undefined ? undefined : runtimeSize(file, name, value);
  };
  const total = size("cache-size");
  const tables = size("l2-cache-size");
  const refcounts = size("refcount-cache-size");
  if (total === undefined) return tables;
  const refuse = (field: string, qemu: string): PlatterError =>
    runtimeError(file, field, options[field] ?? null, qemu);
  if (tables !== undefined && refcounts !== undefined) {
    throw refuse(
      "cache-size",
      "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time",
    );
  }
  if (tables !== undefined && tables > total) {
    throw refuse("l2-cache-size", "l2-cache-size may not exceed cache-size");
  }
  if (refcounts !== undefined && refcounts > total) {
    throw refuse("refcount-cache-size", "refcount-cache-size may not exceed cache-size");
  }
  return tables ?? total - (refcounts ?? 0);
}

function checkEntrySize(options: RuntimeOptions, clusterSize: number, file: string): void {
  const { "l2-cache-entry-size": value } = options;
  if (value === undefined) return;
  const size = runtimeSize(file, "l2-cache-entry-size", value);
  if (size >= 512 && size <= clusterSize && Number.isInteger(Math.log2(size))) return;
  const qemu = `L2 cache entry size must be a power of two between 512 and the cluster size (${clusterSize})`;
  throw runtimeError(file, "l2-cache-entry-size", value, qemu);
}

/** Options that ask for another way of writing: fine as long as they say what happens anyway. */
function checkBehaviour(options: RuntimeOptions, header: Header, file: string): void {
  const { "lazy-refcounts": lazy, "cache-clean-interval": interval } = options;
  const isLazy = lazy !== undefined && runtimeBoolean(file, "lazy-refcounts", lazy);
  if (isLazy && header.fields.version < 3) {
    const qemu = "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level";
    throw runtimeError(file, "lazy-refcounts", lazy, qemu);
  }
  if (interval !== undefined && !/^[0-9]+$/.test(String(interval))) {
    const qemu = "Parameter 'cache-clean-interval' expects a number";
    throw runtimeError(file, "cache-clean-interval", interval, qemu);
  }
  const usual = [
    ["pass-discard-request", true],
    ["pass-discard-snapshot", true],
    ["pass-discard-other", false],
  ] as const;
  for (const [name, normal] of usual) {
    const value = options[name];
    if (value === undefined || runtimeBoolean(file, name, value) === normal) continue;
    throw unsupported(file, name, value);
  }
  const { "overlap-check": short, "overlap-check.template": long } = options;
  const template = short ?? long;
  if (template !== undefined && !checks.includes(String(template))) {
    const qemu =
      `Unsupported value '${String(template)}' for qcow2 option 'overlap-check'. ` +
      `Allowed are any of the following: ${checks.join(", ")}`;
    throw runtimeError(file, "overlap-check", template, qemu);
  }
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith("data-file.")) throw unsupported(file, name, value);
    if (name.startsWith("overlap-check.") && name !== "overlap-check.template") {
      throw unsupported(file, name, value);
    }
  }
}

function checkEncryption(options: RuntimeOptions, header: Header, file: string): void {
  const { "encrypt.format": format } = options;
  if (format === undefined || header.fields.crypt_method !== 0) return;
  const qemu = `No encryption in image header, but options specified format '${String(format)}'`;
  throw runtimeError(file, "encrypt.format", format, qemu);
}

const unsupported = (
  file: string,
  name: string,
  value: string | number | boolean | null,
): PlatterError =>
  runtimeError(
    file,
    name,
    value,
    `The option '${name}' is not supported by this version`,
    "E_UNSUPPORTED",
  );
