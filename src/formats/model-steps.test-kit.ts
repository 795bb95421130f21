/** What the model tests do to an image. */
import fc from "fast-check";

/** Where a request lies: places are fractions of the disk, so that they shrink and stay inside. */
export interface Place {
  /** From 0 to 1. */
  readonly at: number;
  /** In bytes, before being cut at the end of the disk. */
  readonly length: number;
  /** What both ends are rounded down to. */
  readonly grain: "byte" | "sector" | "cluster";
}

/** A request that changes guest bytes, or reads them. */
export type Request =
  | { readonly kind: "write" | "discard" | "read" | "zero" | "zeroKeeping"; readonly place: Place }
  | { readonly kind: "compressed"; readonly place: Place; readonly random: boolean };

/** A step of a sequence. */
export type Step =
  | Request
  | { readonly kind: "flush" | "reopen" | "check" }
  | {
      readonly kind: "resize";
      readonly sectors: number;
      readonly mode: "off" | "metadata" | "falloc";
    }
  /** What becomes of the snapshots; `which` from 0 to 1 chooses among those that there are. */
  | { readonly kind: "keep" }
  | { readonly kind: "restore" | "forget"; readonly which: number }
  /** Requests at the same time; those that overlap an earlier one are left out. */
  | { readonly kind: "apart"; readonly requests: readonly Request[] }
  /** Requests at the same time that may overlap. */
  | { readonly kind: "together"; readonly requests: readonly Request[] };

function requestsOf(compressed: boolean): fc.Arbitrary<Request> {
  const place = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.oneof(
      fc.integer({ min: 0, max: 2000 }),
      fc.integer({ min: 0, max: 70_000 }),
      fc.integer({ min: 0, max: 300_000 }),
    ),
    grain: fc.constantFrom("byte" as const, "sector" as const, "cluster" as const),
  });
  return fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("write" as const), place }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constantFrom("read", "discard", "zero", "zeroKeeping"),
        place,
      }),
    },
    {
      weight: compressed ? 3 : 0,
      arbitrary: fc.record({
        kind: fc.constant("compressed" as const),
        place,
        random: fc.boolean(),
      }),
    },
  );
}

/** Sequences of steps. `compressed`: with compressed writes; `serial`: one request at a time. */
export function sequences(options: {
  readonly compressed: boolean;
  readonly serial?: boolean;
  /** The image can have internal snapshots; default true. */
  readonly snapshots?: boolean;
  readonly maxLength?: number;
}): fc.Arbitrary<Step[]> {
  const request = requestsOf(options.compressed);
  const batch = fc.array(request, { minLength: 2, maxLength: 8 });
  const pair = fc.array(request, { minLength: 2, maxLength: 4 });
  const step = fc.oneof(
    { weight: 8, arbitrary: request },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constantFrom("flush" as const, "reopen" as const, "check" as const),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("resize" as const),
        sectors: fc.integer({ min: 0, max: 900 }),
        mode: fc.constantFrom(
          "off" as const,
          "off" as const,
          "metadata" as const,
          "falloc" as const,
        ),
      }),
    },
    {
      weight: options.snapshots === false ? 0 : 2,
      arbitrary: fc.oneof(
        fc.record({ kind: fc.constant("keep" as const) }),
        fc.record({
          kind: fc.constantFrom("restore" as const, "forget" as const),
          which: fc.double({ min: 0, max: 0.999, noNaN: true }),
        }),
      ),
    },
    {
      weight: options.serial === true ? 0 : 3,
      arbitrary: fc.record({ kind: fc.constant("apart" as const), requests: batch }),
    },
    {
      weight: options.serial === true ? 0 : 2,
      arbitrary: fc.record({ kind: fc.constant("together" as const), requests: pair }),
    },
  );
  return fc.array(step, { minLength: 1, maxLength: options.maxLength ?? 30 });
}
