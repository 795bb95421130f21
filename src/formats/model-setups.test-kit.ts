/** Which images the model tests are about. */
import fc from "fast-check";
import type { CompressionType } from "../codec/index.ts";

/** What an image behind the tested one is. */
export interface ModelBacking {
  readonly format: "raw" | "qcow2";
  /** In percent of the tested disk: shorter and longer ones are the interesting ones. */
  readonly percent: number;
}

/** What kind of image is tested. */
export interface ModelSetup {
  readonly format: "raw" | "qcow2";
  readonly version: 2 | 3;
  readonly clusterSize: number;
  /** Whether the L2 entries have bitmaps of subclusters. */
  readonly extendedL2: boolean;
  readonly refcountBits: number;
  readonly compression: CompressionType | undefined;
  readonly backing: ModelBacking | undefined;
  readonly preallocation: "off" | "metadata" | "falloc";
  /** Where the guest's data is, if not in the image: `raw` says that the file stays valid as a raw image. */
  readonly dataFile: "plain" | "raw" | undefined;
  /** How guest data is encrypted; the codecs have to bring the ciphers. */
  readonly encryption: "aes" | "luks" | undefined;
  /** Granularities of the bitmaps that follow all changes; version 3 only. */
  readonly bitmaps: readonly number[];
  /** Sectors of the disk at first. */
  readonly sectors: number;
  /** Bytes of tables kept in memory; undefined for the default. */
  readonly cacheSize: number | undefined;
  /** Seed of the delays of the storage. */
  readonly jitter: number;
}

/** Which image setups to draw from. */
export interface SetupOptions {
  readonly compressions: readonly CompressionType[];
  readonly clusterBits?: readonly [least: number, most: number];
  /** Encrypted images are among them; default false. */
  readonly encrypted?: boolean;
}

/** Setups of qcow2 images. */
export function qcow2Setups(options: SetupOptions): fc.Arbitrary<ModelSetup> {
  const [least, most] = options.clusterBits ?? [9, 16];
  return fc
    .record({
      format: fc.constant("qcow2" as const),
      version: fc.constantFrom(3 as const, 3 as const, 2 as const),
      clusterSize: fc.integer({ min: least, max: most }).map((bits) => 2 ** bits),
      extendedL2: fc.boolean(),
      refcountBits: fc.integer({ min: 0, max: 6 }).map((order) => 2 ** order),
      compression: fc.constantFrom(...options.compressions, undefined),
      backing: fc.option(
        fc.record({
          format: fc.constantFrom("raw" as const, "qcow2" as const),
          percent: fc.constantFrom(30, 100, 170),
        }),
        { nil: undefined },
      ),
      preallocation: fc.constantFrom(
        "off" as const,
        "off" as const,
        "metadata" as const,
        "falloc" as const,
      ),
      dataFile: fc.constantFrom(undefined, undefined, undefined, "plain" as const, "raw" as const),
      encryption:
        options.encrypted === true
          ? fc.constantFrom(undefined, undefined, "aes" as const, "luks" as const)
          : fc.constant(undefined),
      bitmaps: fc.constantFrom<readonly number[]>([], [], [512], [4096, 1 << 20]),
      sectors: fc.integer({ min: 1, max: 900 }),
      cacheSize: fc.constantFrom(1, undefined),
      jitter: fc.integer({ min: 0, max: 1000 }),
    })
    .map(possible);
}

/** The nearest setup that images allow. */
export function possible(setup: ModelSetup): ModelSetup {
  const { version, backing, encryption } = setup;
  const extendedL2 = setup.extendedL2 && version === 3;
  // What is reserved and has never been written reads as the noise that zeros decrypt to.
  const reserves = (backing === undefined || extendedL2) && encryption === undefined;
  const isRaw = setup.dataFile === "raw";
  return {
    ...setup,
    extendedL2,
    // A subcluster has at least a sector.
    clusterSize: extendedL2 ? Math.max(setup.clusterSize, 16_384) : setup.clusterSize,
    refcountBits: version === 2 ? 16 : setup.refcountBits,
    compression: version === 2 && setup.compression === "zstd" ? "zlib" : setup.compression,
    preallocation: reserves ? setup.preallocation : "off",
    dataFile:
      version === 2 || (isRaw && (backing !== undefined || encryption !== undefined))
        ? undefined
        : setup.dataFile,
    bitmaps: version === 2 ? [] : setup.bitmaps,
  };
}

/** Setups of raw images. */
export function rawSetups(): fc.Arbitrary<ModelSetup> {
  return fc
    .record({
      sectors: fc.integer({ min: 1, max: 900 }),
      jitter: fc.integer({ min: 0, max: 1000 }),
    })
    .map((drawn) => ({
      ...drawn,
      format: "raw",
      version: 3,
      clusterSize: 1,
      extendedL2: false,
      refcountBits: 16,
      compression: undefined,
      backing: undefined,
      preallocation: "off",
      dataFile: undefined,
      encryption: undefined,
      bitmaps: [],
      cacheSize: undefined,
    }));
}
