/** How an image is changed: a case is a base and a list of mutations, and both fit into a line of JSON. */
import fc from "fast-check";
import type { Place } from "./tables.ts";

/** A change of an image. Offsets are of the file as it is then; what lies outside has no effect. */
export type Mutation =
  | {
      readonly kind: "set";
      readonly table: string;
      readonly field: string;
      readonly at: number;
      readonly width: 1 | 2 | 4 | 8;
      /** In hexadecimal. */
      readonly value: string;
    }
  | { readonly kind: "flip"; readonly at: number; readonly bit: number }
  | { readonly kind: "bytes"; readonly at: number; readonly bytes: readonly number[] }
  | { readonly kind: "copy"; readonly from: number; readonly to: number; readonly length: number }
  | { readonly kind: "cut" | "extend"; readonly length: number };

/** What is run: a base by name, and what is changed in it. */
export interface Case {
  readonly base: string;
  readonly mutations: readonly Mutation[];
}

/** The image that a case describes. */
export function mutated(sound: Uint8Array, mutations: readonly Mutation[]): Uint8Array {
  let bytes: Uint8Array = sound.slice();
  for (const mutation of mutations) bytes = applied(bytes, mutation);
  return bytes;
}

function applied(bytes: Uint8Array, mutation: Mutation): Uint8Array {
  switch (mutation.kind) {
    case "set": {
      const { at, width } = mutation;
      let value = BigInt(`0x${mutation.value}`);
      for (let i = width - 1; i >= 0; i--) {
        if (at + i < bytes.length) bytes[at + i] = Number(value & 0xffn);
        value >>= 8n;
      }
      return bytes;
    }
    case "flip":
      if (mutation.at < bytes.length) bytes[mutation.at]! ^= 1 << mutation.bit;
      return bytes;
    case "bytes":
      for (const [i, byte] of mutation.bytes.entries()) {
        if (mutation.at + i < bytes.length) bytes[mutation.at + i] = byte;
      }
      return bytes;
    case "copy":
      bytes.copyWithin(mutation.to, mutation.from, mutation.from + mutation.length);
      return bytes;
    case "cut":
      return bytes.slice(0, mutation.length);
    default: {
      const longer = new Uint8Array(bytes.length + mutation.length);
      longer.set(bytes);
      return longer;
    }
  }
}

const all = (width: number): bigint => (1n << BigInt(8 * width)) - 1n;

/** Values for a number of that width: edges, places in the file with flags, neighbours of what is there. */
function valueOf(
  { at, width }: Place,
  bytes: Uint8Array,
  places: readonly Place[],
): fc.Arbitrary<bigint> {
  const mask = all(width);
  const read = (place: Place): bigint => {
    let value = 0n;
    for (let i = 0; i < place.width; i++) value = (value << 8n) | BigInt(bytes[place.at + i] ?? 0);
    return value;
  };
  const now = read({ table: "", field: "", at, width });
  const clusterSize = 2 ** bytes[23]!;
  const clusters = Math.ceil(bytes.length / clusterSize);
  const near = fc
    .constantFrom(1n, -1n, 2n, 8n, 512n, BigInt(clusterSize), -BigInt(clusterSize))
    .map((step) => now + step);
  const bit = fc.integer({ min: 0, max: 8 * width - 1 }).map((n) => now ^ (1n << BigInt(n)));
  const edges = fc.constantFrom(0n, 1n, 2n, mask, mask >> 1n, (mask >> 1n) + 1n, mask - 1n);
  const power = fc
    .tuple(fc.integer({ min: 0, max: 8 * width - 1 }), fc.integer({ min: -1, max: 1 }))
    .map(([n, step]) => (1n << BigInt(n)) + BigInt(step));
  const other = fc.constantFrom(...places).map(read);
  const flags = fc.constantFrom(0n, 1n, 1n << 63n, (1n << 63n) | 1n, 1n << 62n, 3n << 62n);
  const pointer = fc
    .tuple(fc.integer({ min: 0, max: clusters + 2 }), flags, fc.constantFrom(0n, 0n, 0n, 8n, 512n))
    .map(([n, flag, step]) => (BigInt(n) * BigInt(clusterSize) + step) | flag);
  const packed = fc
    .tuple(fc.nat(bytes.length + 1024), fc.nat(255))
    .map(([n, sectors]) => BigInt(n) | (BigInt(sectors) << 54n) | (1n << 62n));
  const any = fc.bigInt({ min: 0n, max: mask });
  const chosen =
    width === 8
      ? fc.oneof(
          { arbitrary: pointer, weight: 6 },
          { arbitrary: packed, weight: 1 },
          { arbitrary: near, weight: 2 },
          { arbitrary: bit, weight: 4 },
          { arbitrary: edges, weight: 2 },
          { arbitrary: power, weight: 2 },
          { arbitrary: other, weight: 2 },
          { arbitrary: any, weight: 1 },
        )
      : fc.oneof(
          { arbitrary: near, weight: 3 },
          { arbitrary: bit, weight: 3 },
          { arbitrary: edges, weight: 3 },
          { arbitrary: power, weight: 2 },
          { arbitrary: other, weight: 1 },
          { arbitrary: any, weight: 1 },
        );
  return chosen.map((value) => value & mask);
}

/** Mutations of one image: mostly of its tables' fields, some of bytes anywhere. */
export function mutationsOf(
  bytes: Uint8Array,
  places: readonly Place[],
): fc.Arbitrary<readonly Mutation[]> {
  // Tables with many entries shall not leave the others without a turn.
  const byTable = Map.groupBy(places, ({ table }) => table);
  const place = fc.constantFrom(...byTable.values()).chain((group) => fc.constantFrom(...group));
  const set = place.chain((found) =>
    valueOf(found, bytes, places).map((value): Mutation => ({
      kind: "set",
      ...found,
      value: value.toString(16),
    })),
  );
  const at = fc.nat(bytes.length - 1);
  const flip = fc
    .tuple(at, fc.nat(7))
    .map(([offset, bit]): Mutation => ({ kind: "flip", at: offset, bit }));
  const noise = fc
    .tuple(at, fc.array(fc.nat(255), { minLength: 1, maxLength: 32 }))
    .map(([offset, written]): Mutation => ({ kind: "bytes", at: offset, bytes: written }));
  const copy = fc
    .tuple(at, at, fc.constantFrom(1, 8, 64, 512, 4096))
    .map(([from, to, length]): Mutation => ({ kind: "copy", from, to, length }));
  const cut = at.map((length): Mutation => ({ kind: "cut", length }));
  const extend = fc
    .constantFrom(1, 511, 512, 4096, 65_536)
    .map((length): Mutation => ({ kind: "extend", length }));
  const one = fc.oneof(
    { arbitrary: set, weight: 16 },
    { arbitrary: flip, weight: 2 },
    { arbitrary: noise, weight: 2 },
    { arbitrary: copy, weight: 1 },
    { arbitrary: cut, weight: 1 },
    { arbitrary: extend, weight: 1 },
  );
  return fc.array(one, { minLength: 1, maxLength: 4, size: "max" });
}
