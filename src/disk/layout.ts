/** What bytes of an image file are for. */
export type LayoutRole =
  | "header"
  | "refcount table"
  | "refcount blocks"
  | "L1 table"
  | "L2 tables"
  | "data"
  | "zeroed"
  | "compressed"
  | "bitmaps"
  | "snapshot tables"
  | "snapshot data"
  | "leaked"
  | "free"
  | "unknown";

/** A run of an image file with one use. Offsets are bytes. */
export interface LayoutPart {
  readonly role: LayoutRole;
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** A field of an on-disk structure, decoded. */
export interface DecodedField {
  /** The structure it is in, and its name, as the specification has them. */
  readonly structure: string;
  readonly name: string;
  /** Offset in the file and width, in bytes. */
  readonly offset: number;
  readonly width: number;
  /** As people read it: a number, an offset in hexadecimal, a name. */
  readonly value: string;
  readonly meaning: string;
  /** Where the specification describes it. */
  readonly specification: string;
}

/** Where every byte of an image file goes. */
export interface Layout {
  /** The file from start to end, without gaps; neighbours differ in their role. */
  parts(): Iterable<LayoutPart>;
  /** The fields of the header and what belongs to it, in the order of the file. */
  readonly fields: readonly DecodedField[];
}

/** How a layout is looked up. */
export interface LayoutOptions {
  readonly signal?: AbortSignal | undefined;
}
