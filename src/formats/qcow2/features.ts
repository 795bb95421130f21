/**
 * Feature bits and their names (specification, "Header" and "Feature name table").
 */

/** Which of the three feature masks a bit belongs to. The values are those of the name table. */
export const FeatureKind = { incompatible: 0, compatible: 1, autoclear: 2 } as const;

/** A known feature bit. */
export interface Feature {
  readonly kind: (typeof FeatureKind)[keyof typeof FeatureKind];
  readonly bit: number;
  /** As QEMU names it in the feature name table. */
  readonly name: string;
}

/** Incompatible feature bits as masks. */
export const incompatible = {
  dirty: 1n << 0n,
  corrupt: 1n << 1n,
  dataFile: 1n << 2n,
  compression: 1n << 3n,
  extendedL2: 1n << 4n,
  /**
   * Ours: an image that is being written. No released QEMU knows bit 62, so it refuses the file and
   * prints the name that our feature table gives it.
   */
  unfinished: 1n << 62n,
} as const;

/** Compatible feature bits as masks. */
export const compatible = { lazyRefcounts: 1n << 0n } as const;

/** Autoclear feature bits as masks. */
export const autoclear = { bitmaps: 1n << 0n, rawData: 1n << 1n } as const;

/** The name under which {@link incompatible.unfinished} stands in the feature name table. */
export const unfinishedName = "unfinished: still being written";

/** The features that QEMU 7.2 lists in the name table of each image, in its order. */
export const knownFeatures: readonly Feature[] = [
  { kind: FeatureKind.incompatible, bit: 0, name: "dirty bit" },
  { kind: FeatureKind.incompatible, bit: 1, name: "corrupt bit" },
  { kind: FeatureKind.incompatible, bit: 2, name: "external data file" },
  { kind: FeatureKind.incompatible, bit: 3, name: "compression type" },
  { kind: FeatureKind.incompatible, bit: 4, name: "extended L2 entries" },
  { kind: FeatureKind.compatible, bit: 0, name: "lazy refcounts" },
  { kind: FeatureKind.autoclear, bit: 0, name: "bitmaps" },
  { kind: FeatureKind.autoclear, bit: 1, name: "raw external data" },
];

const nameBytes = 46;

/** The contents of a feature name table extension that lists `features`. */
export function encodeFeatureNames(features: readonly Feature[]): Uint8Array {
  const bytes = new Uint8Array(features.length * (2 + nameBytes));
  features.forEach((feature, i) => {
    const at = i * (2 + nameBytes);
    bytes[at] = feature.kind;
    bytes[at + 1] = feature.bit;
    bytes.set(new TextEncoder().encode(feature.name).subarray(0, nameBytes), at + 2);
  });
  return bytes;
}

/** The entries of a feature name table extension; a partial last entry is ignored. */
export function decodeFeatureNames(bytes: Uint8Array): Feature[] {
  const features: Feature[] = [];
  for (let at = 0; at + 2 + nameBytes <= bytes.length; at += 2 + nameBytes) {
    const kind = bytes[at]!;
    if (kind > 2) continue;
    const name = bytes.subarray(at + 2, at + 2 + nameBytes);
    const end = name.indexOf(0);
    features.push({
      kind: kind as Feature["kind"],
      bit: bytes[at + 1]!,
      name: new TextDecoder().decode(end < 0 ? name : name.subarray(0, end)),
    });
  }
  return features;
}
