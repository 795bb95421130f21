import { alignUp } from "../../bytes/index.ts";
import { invalid } from "./invalid.ts";

/** Header extension types (specification, "Header extensions"). */
export const ExtensionType = {
  end: 0,
  backingFormat: 0xe279_2aca,
  featureNames: 0x6803_f857,
  bitmaps: 0x2385_2875,
  encryption: 0x0537_be77,
  dataFile: 0x4441_5441,
} as const;

/** The text of a name in an image: it ends at the first zero byte, if there is one, as it does for QEMU. */
export function nameText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** One header extension. Unknown types are kept as they are. */
export interface Extension {
  readonly type: number;
  readonly data: Uint8Array;
}

/** The order in which QEMU writes the extensions it knows; others follow in their own order. */
const order: readonly number[] = [
  ExtensionType.backingFormat,
  ExtensionType.dataFile,
  ExtensionType.encryption,
  ExtensionType.featureNames,
  ExtensionType.bitmaps,
];

const rank = (type: number): number => {
  const at = order.indexOf(type);
  return at < 0 ? order.length : at;
};

/**
 * The extensions between `start` and `end` of `bytes`, up to the end marker. An extension that
 * would reach past `end` is refused with `E_CORRUPT`; so is one that the file is too short for.
 */
export function decodeExtensions(
  bytes: Uint8Array,
  start: number,
  end: number,
  file: string,
): Extension[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const extensions: Extension[] = [];
  let at = start;
  while (at + 8 <= end && at + 8 <= bytes.length) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === ExtensionType.end) break;
    at += 8;
    if (length > end - at || at + length > bytes.length) {
      throw invalid(file, "E_CORRUPT", "Header extension too large", {
        field: `header extension 0x${type.toString(16)}`,
        offset: at - 8,
        value: length,
      });
    }
    extensions.push({ type, data: bytes.slice(at, at + length) });
    at += alignUp(length, 8);
  }
  return extensions;
}

/** The bytes of `extensions`, in QEMU's order, with the end marker. */
export function encodeExtensions(extensions: readonly Extension[]): Uint8Array {
  const sorted = extensions.toSorted((a, b) => rank(a.type) - rank(b.type));
  const size = sorted.reduce((sum, { data }) => sum + 8 + alignUp(data.length, 8), 8);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { type, data } of sorted) {
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + alignUp(data.length, 8);
  }
  return bytes;
}
