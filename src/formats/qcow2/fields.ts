import { alignUp } from "../../bytes/index.ts";
import type { DecodedField } from "../../disk/index.ts";
import { ExtensionType, type Extension } from "./extensions.ts";
import { FeatureKind, decodeFeatureNames, knownFeatures } from "./features.ts";
import { headerStructure, version2Length, type Header } from "./header.ts";

const widths = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;

/** Fields that are offsets into the file, shown in hexadecimal. */
const offsets: readonly string[] = [
  "backing_file_offset",
  "l1_table_offset",
  "refcount_table_offset",
  "snapshots_offset",
];

const kinds = {
  incompatible_features: FeatureKind.incompatible,
  compatible_features: FeatureKind.compatible,
  autoclear_features: FeatureKind.autoclear,
} as const;

/** Names and sections of the header extensions (specification, "Header extensions"). */
const extensionNames: Readonly<Record<number, readonly [name: string, section: string]>> = {
  [ExtensionType.backingFormat]: ["backing file format name", "Header extensions"],
  [ExtensionType.featureNames]: ["feature name table", "Feature name table"],
  [ExtensionType.bitmaps]: ["bitmaps extension", "Bitmaps extension"],
  [ExtensionType.encryption]: [
    "full disk encryption header",
    "Full disk encryption header pointer",
  ],
  [ExtensionType.dataFile]: ["external data file name", "Header extensions"],
};

/**
 * The fields of a header, its extensions and the backing file name, decoded. `extensions` are all of
 * them, as they follow the header in the file.
 */
export function headerFields(header: Header, extensions: readonly Extension[]): DecodedField[] {
  const { fields } = header;
  const length = fields.version === 2 ? version2Length : fields.header_length;
  const decoded: DecodedField[] = [];
  for (const [name, field] of Object.entries(headerStructure.fields)) {
    const width = widths[field.type];
    if (field.at + width > length) continue;
    const last = field.at + width - 1;
    const bytes = width === 1 ? `byte ${field.at}` : `bytes ${field.at} to ${last}`;
    decoded.push({
      structure: "Header",
      name,
      offset: field.at,
      width,
      value: shown(name, fields[name as keyof typeof fields]),
      meaning: field.means,
      specification:
        field.at < version2Length ? `Header, ${bytes}` : `Header, version 3 or higher, ${bytes}`,
    });
  }
  decoded.push(...extensionFields(extensions, length));
  if (header.backingName !== undefined) {
    decoded.push({
      structure: "Header",
      name: "backing file name",
      offset: Number(fields.backing_file_offset),
      width: fields.backing_file_size,
      value: header.backingName,
      meaning: "the image behind this one",
      specification: "Header, bytes 8 to 19",
    });
  }
  return decoded;
}

function extensionFields(extensions: readonly Extension[], start: number): DecodedField[] {
  let at = start;
  return extensions.map(({ type, data }) => {
    const [name, section] = extensionNames[type] ?? ["unknown extension", "Header extensions"];
    const offset = at;
    at += 8 + alignUp(data.length, 8);
    return {
      structure: "Header extension",
      name,
      offset,
      width: 8 + data.length,
      value: extensionValue(type, data),
      meaning: `type 0x${type.toString(16)}, ${data.length} bytes of data`,
      specification: section,
    };
  });
}

function extensionValue(type: number, data: Uint8Array): string {
  if (type === ExtensionType.backingFormat || type === ExtensionType.dataFile) {
    return new TextDecoder().decode(data);
  }
  if (type === ExtensionType.featureNames) {
    return decodeFeatureNames(data)
      .map(({ name }) => name)
      .join(", ");
  }
  const shownBytes = [...data.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0"));
  return shownBytes.join(" ") + (data.length > 16 ? " …" : "");
}

function shown(name: string, value: number | bigint): string {
  if (name === "magic") return `0x${value.toString(16)} ("QFI\\xfb")`;
  if (offsets.includes(name)) return `0x${value.toString(16)}`;
  if (name === "cluster_bits") return `${value} (${2 ** Number(value)} bytes)`;
  if (name === "refcount_order") return `${value} (${2 ** Number(value)} bits)`;
  if (name in kinds) return features(kinds[name as keyof typeof kinds], BigInt(value));
  return String(value);
}

/** "0x11 (dirty bit, extended L2 entries)". */
function features(kind: number, mask: bigint): string {
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if ((mask & (1n << BigInt(bit))) === 0n) continue;
    const known = knownFeatures.find((feature) => feature.kind === kind && feature.bit === bit);
    names.push(known?.name ?? `bit ${bit}`);
  }
  return `0x${mask.toString(16)}${names.length === 0 ? "" : ` (${names.join(", ")})`}`;
}
