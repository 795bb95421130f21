/**
 * On-disk structures as tables of fields: a structure is declared once, and reading, writing,
 * checking, explaining and documenting it derive from the table. All numbers are big-endian.
 */

/** Width of a field. `u64` fields are read as bigint, because they may be bit masks. */
export type FieldType = "u8" | "u16" | "u32" | "u64";

/** One field of an on-disk structure. */
export interface Field {
  /** Byte offset from the start of the structure. */
  readonly at: number;
  readonly type: FieldType;
  /** What the specification says it is, in a few words. */
  readonly means: string;
}

/** The values of a structure whose fields are `F`. */
export type Values<F extends Readonly<Record<string, Field>>> = {
  -readonly [K in keyof F]: F[K]["type"] extends "u64" ? bigint : number;
};

const widths: Readonly<Record<FieldType, number>> = { u8: 1, u16: 2, u32: 4, u64: 8 };

const readers: Readonly<Record<FieldType, (view: DataView, at: number) => number | bigint>> = {
  u8: (view, at) => view.getUint8(at),
  u16: (view, at) => view.getUint16(at),
  u32: (view, at) => view.getUint32(at),
  u64: (view, at) => view.getBigUint64(at),
};

const writers: Readonly<
  Record<FieldType, (view: DataView, at: number, value: number | bigint) => void>
> = {
  u8: (view, at, value) => view.setUint8(at, Number(value)),
  u16: (view, at, value) => view.setUint16(at, Number(value)),
  u32: (view, at, value) => view.setUint32(at, Number(value)),
  u64: (view, at, value) => view.setBigUint64(at, BigInt(value)),
};

/** A declared structure. Field names are those of the format's specification. */
export class Structure<F extends Readonly<Record<string, Field>>> {
  /** Bytes from the start of the structure to the end of its last field. */
  readonly size: number;
  /** The structure's name, as its specification heads it. */
  readonly name: string;
  readonly fields: F;

  constructor(name: string, fields: F) {
    this.name = name;
    this.fields = fields;
    this.size = Math.max(...Object.values(fields).map((field) => field.at + widths[field.type]));
  }

  /**
   * The values of the structure at `base`. Fields that reach past the end of `bytes` read as zero,
   * as optional trailing fields do when they are absent.
   */
  read(bytes: Uint8Array, base = 0): Values<F> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const entries = Object.entries(this.fields).map(([name, field]) => [
      name,
      base + field.at + widths[field.type] <= bytes.length
        ? readers[field.type](view, base + field.at)
        : field.type === "u64"
          ? 0n
          : 0,
    ]);
    return Object.fromEntries(entries) as Values<F>;
  }

  /** Stores `values` at `base`; fields that reach past the end of `bytes` are left out. */
  write(values: Values<F>, bytes: Uint8Array, base = 0): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (const [name, field] of Object.entries(this.fields)) {
      const at = base + field.at;
      if (at + widths[field.type] > bytes.length) continue;
      writers[field.type](view, at, values[name as keyof F]);
    }
  }
}
