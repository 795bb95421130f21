import type { PlatterError } from "../../errors.ts";
import type { RuntimeOptions } from "../format.ts";
import { runtimeBoolean, runtimeError, runtimeSize } from "../runtime-values.ts";
import type { Header } from "./header.ts";
import { overlapTemplates, section } from "./overlap.ts";

/** What the options for one opening come to. */
export interface Qcow2RuntimeOptions {
  /** Bytes of L2 tables kept in memory; undefined where nothing is said. */
  readonly l2CacheSize: number | undefined;
  /** Bytes of an L2 table that QEMU would load at once; undefined where nothing is said. */
  readonly l2SliceSize: number | undefined;
  /** Bytes of refcount blocks kept in memory; undefined where nothing is said. */
  readonly refcountCacheSize: number | undefined;
  /** What writes are checked against, a mask of the sections of `overlap.ts`. */
  readonly overlapSections: number;
  /** Whether refcounts may wait; undefined for what the image says. */
  readonly lazyRefcounts: boolean | undefined;
}

/** The options that set one section, by the section they set. */
const sectionOptions: ReadonlyArray<readonly [name: string, section: number]> = [
  ["main-header", section.mainHeader],
  ["active-l1", section.activeL1],
  ["active-l2", section.activeL2],
  ["refcount-table", section.refcountTable],
  ["refcount-block", section.refcountBlock],
  ["snapshot-table", section.snapshotTable],
  ["inactive-l1", section.inactiveL1],
  ["inactive-l2", section.inactiveL2],
  ["bitmap-directory", section.bitmapDirectory],
];

/**
 * Reads the options of QEMU's qcow2 driver. The sizes of caches are honoured, and with them where QEMU would
 * put clusters; what would change the way of writing and is not there is refused by name. When unused
 * tables are to be forgotten, `cache-clean-interval`, is checked and has no meaning here: what is in memory is
 * limited by its size alone.
 *
 * @throws `E_INVALID_ARGUMENT` and `E_UNSUPPORTED` with QEMU's words
 */
export function readRuntimeOptions(
  options: RuntimeOptions,
  header: Header,
  file: string,
): Qcow2RuntimeOptions {
  const caches = readCacheSizes(options, file);
  const l2SliceSize = readEntrySize(options, 2 ** header.fields.cluster_bits, file);
  checkBehaviour(options, header, file);
  checkEncryption(options, header, file);
  const lazy = options["lazy-refcounts"];
  const lazyRefcounts =
    lazy === undefined ? undefined : runtimeBoolean(file, "lazy-refcounts", lazy);
  return { ...caches, l2SliceSize, lazyRefcounts, overlapSections: overlapSections(options, file) };
}

function readCacheSizes(
  options: RuntimeOptions,
  file: string,
): Pick<Qcow2RuntimeOptions, "l2CacheSize" | "refcountCacheSize"> {
  const size = (name: string): number | undefined => {
    const value = options[name];
    return value === undefined ? undefined : runtimeSize(file, name, value);
  };
  const total = size("cache-size");
  const tables = size("l2-cache-size");
  const refcounts = size("refcount-cache-size");
  if (total === undefined) return { l2CacheSize: tables, refcountCacheSize: refcounts };
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
  return {
    l2CacheSize: tables ?? total - (refcounts ?? 0),
    refcountCacheSize: refcounts ?? (tables === undefined ? undefined : total - tables),
  };
}

function readEntrySize(
  options: RuntimeOptions,
  clusterSize: number,
  file: string,
): number | undefined {
  const { "l2-cache-entry-size": value } = options;
  if (value === undefined) return undefined;
  const size = runtimeSize(file, "l2-cache-entry-size", value);
  if (size >= 512 && size <= clusterSize && Number.isInteger(Math.log2(size))) return size;
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
  if (interval !== undefined) checkInterval(String(interval), file);
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
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith("data-file.")) throw unsupported(file, name, value);
  }
}

/** Seconds, as C reads them: what is negative is very large. */
function checkInterval(text: string, file: string): void {
  const refuse = (qemu: string): PlatterError =>
    runtimeError(file, "cache-clean-interval", text, qemu);
  if (!/^-?[0-9]+$/.test(text)) throw refuse("Parameter 'cache-clean-interval' expects a number");
  const size = BigInt(text.replace("-", ""));
  if (size >= 2n ** 64n) {
    throw refuse(`Value '${text}' is too large for parameter 'cache-clean-interval'`);
  }
  if (BigInt.asUintN(64, BigInt(text)) > 0xffff_ffffn) throw refuse("Cache clean interval too big");
}

/** What writes are checked against: a template, and sections that differ from it. */
function overlapSections(options: RuntimeOptions, file: string): number {
  const { "overlap-check": short, "overlap-check.template": long } = options;
  if (short !== undefined && long !== undefined && short !== long) {
    const qemu =
      `Conflicting values for qcow2 options 'overlap-check' ('${String(short)}') and ` +
      `'overlap-check.template' ('${String(long)}')`;
    throw runtimeError(file, "overlap-check", short, qemu);
  }
  const wanted = String(short ?? long ?? "cached");
  const template = Object.entries(overlapTemplates).find(([name]) => name === wanted);
  if (template === undefined) {
    const allowed = Object.keys(overlapTemplates).join(", ");
    const qemu =
      `Unsupported value '${wanted}' for qcow2 option 'overlap-check'. ` +
      `Allowed are any of the following: ${allowed}`;
    throw runtimeError(file, "overlap-check", wanted, qemu);
  }
  let [, sections]: [string, number] = template;
  for (const [suffix, bit] of sectionOptions) {
    const name = `overlap-check.${suffix}`;
    const value = options[name];
    if (value === undefined) continue;
    sections = runtimeBoolean(file, name, value) ? sections | bit : sections & ~bit;
  }
  return sections;
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
